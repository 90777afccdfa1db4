"""The repository's forward and loss on the CPU with its initial weights: what a rehearsal runs."""

import re
from typing import Any

import torch
from torch import nn

from bevdiag.scenes import Batch
from bevdiag.source import build, cuda_api
from bevdiag.source.dataset import LoadedBatch, source_batch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import current
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
    batch: Batch, settings: SourceSettings, build_network: Any, seed: int, prompter: Prompter
) -> None:
    """Build the model with the weights of a seed, and run its forward and loss."""
    values = RehearsedValues(prompter)
    prepare(seed)
    with cuda_api.initial_weights(), torch.enable_grad():
        built = build.build_model(build_network, settings, values)
    model, recorder = built.model.train(), built.recorder
    loaded = source_batch(batch, settings, with_voxels=True)
    current().boxes = loaded["gt_boxes"]
    run_for_real(
        model,
        loaded.values(),
        recorder,
        values,
        lambda: loss_of(model, LoadedBatch(loaded)),
        built.lanes,
    )


def loss_of(model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
    """The loss that OpenPCDet's `model_fn_decorator` hands to the training loop."""
    try:
        returned, _, _ = model(batch)
    except RuntimeError as error:
        # A layer that is fed other channels than it was built for: say who feeds it.
        mismatch = _MISMATCH.search(str(error)) and batch.watch is not None
        fed = batch.watch.last_features() if mismatch and batch.watch is not None else ""
        error.args = (f"{error}; {fed}" if fed else str(error),)
        raise
    loss: torch.Tensor = returned["loss"].mean()
    return loss
