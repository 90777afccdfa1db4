"""The repository's forward and loss on the CPU with its initial weights: what a rehearsal runs."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.source import build, cuda_api
from bevdiag.source.dataset import LoadedBatch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import current
from bevdiag.source.supply import Supply
from bevdiag.trace.assumed_values import RehearsedValues
from bevdiag.trace.real_run import prepare, run_for_real
from bevdiag.trace.rehearsal import Prompter
from bevdiag.trace.wiring_batch import WatchedBatch

_MISMATCH = re.compile(
    r"shapes cannot be multiplied|same reduction dim|expected input\b.* to have \d+ channels|"
    r"must match the size of tensor|size mismatch|normalized_shape|running_mean should contain|"
    r"but got input .*channels"
)
"""What layers say of an input that does not suit them."""


@torch.no_grad()
def rehearse(
    supply: Supply, settings: SourceSettings, build_network: Any, seed: int, prompter: Prompter
) -> None:
    """Build the model with the weights of a seed, and run its forward and loss."""
    values = RehearsedValues(prompter)
    prepare(seed)
    with cuda_api.initial_weights(), torch.enable_grad():
        built = build.build_model(build_network, settings, supply.dataset, values)
    model, recorder = built.model.train(), built.recorder
    loaded = supply.batch(with_voxels=True)
    current().boxes = loaded.get("gt_boxes")
    run_for_real(
        model,
        loaded.values(),
        recorder,
        values,
        lambda: loss_of(model, LoadedBatch(loaded)),
        built.gpu,
    )


def loss_of(model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
    """The loss that OpenPCDet's `model_fn_decorator` hands to the training loop."""
    returned = _called(model, batch)
    loss = _loss_in(returned)
    if loss is None:
        raise NoVerdictError(
            "the model returns no loss: expected a dict with 'loss', alone or first in a tuple, "
            f"found {type(returned).__name__}"
        )
    return loss.mean()


def predictions_of(model: nn.Module, batch: WatchedBatch) -> Any:
    """What an evaluated model returns: the boxes it kept, and what recall it counted."""
    return _called(model, batch)


def _called(model: nn.Module, batch: WatchedBatch) -> Any:
    try:
        return model(batch)
    except RuntimeError as error:
        # A layer that is fed other channels than it was built for: say who feeds it.
        mismatch = _MISMATCH.search(str(error)) and batch.watch is not None
        fed = batch.watch.last_features() if mismatch and batch.watch is not None else ""
        error.args = (f"{error}; {fed}" if fed else str(error),)
        raise


def _loss_in(returned: Any) -> torch.Tensor | None:
    """What OpenPCDet's models return is a dict with the loss, and two more; others vary it."""
    if isinstance(returned, torch.Tensor):
        return returned
    if isinstance(returned, Mapping):
        return _loss_in(returned.get("loss"))
    if isinstance(returned, (tuple, list)):
        return next((loss for part in returned if (loss := _loss_in(part)) is not None), None)
    return None
