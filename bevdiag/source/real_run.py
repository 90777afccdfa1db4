"""The repository's forward and loss on the CPU with its initial weights: what a rehearsal runs."""

import os
import re
from typing import Any

import torch
from torch import nn

from bevdiag.memory.events import Category
from bevdiag.scenes import Batch
from bevdiag.source import build, cuda_api
from bevdiag.source.dataset import LoadedBatch, source_batch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import current
from bevdiag.source.values import RehearsedValues
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.functions import cuda_functions
from bevdiag.trace.rehearsal import Prompter
from bevdiag.trace.wiring_batch import WatchedBatch

SEED = 0
"""Of the weights: that of the measured rows, and what most training scripts set."""

_MISMATCH = re.compile(
    r"shapes cannot be multiplied|same reduction dim|expected input\b.* to have \d+ channels|"
    r"must match the size of tensor|size mismatch|normalized_shape|running_mean should contain|"
    r"but got input .*channels"
)
"""What layers say of an input that does not suit them."""


@torch.no_grad()
def rehearse(
    batch: Batch, settings: SourceSettings, build_network: Any, prompter: Prompter
) -> None:
    """Build the model with values and run its forward and loss, in full precision."""
    torch.set_num_threads(os.cpu_count() or 1)
    values = RehearsedValues(prompter)
    torch.manual_seed(SEED)
    with cuda_api.initial_weights(), torch.enable_grad():
        built = build.build_model(build_network, settings, values)
    model, recorder = built.model.train(), built.recorder
    loaded = source_batch(batch, settings, with_voxels=True)
    current().boxes = loaded["gt_boxes"]
    for tensor in (*model.parameters(), *model.buffers(), *loaded.values()):
        if isinstance(tensor, torch.Tensor):
            recorder.adopt(tensor, Category.INPUT, "", "rehearsal")
    with Attribution(model) as attribution, recorder, cuda_functions(recorder, None), built.lanes:
        recorder.attribution = attribution
        values.begin_pass()
        loss_of(model, LoadedBatch(loaded))


def loss_of(model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
    """The loss that OpenPCDet's `model_fn_decorator` hands to the training loop."""
    returned, _, _ = _called(model, batch)
    loss: torch.Tensor = returned["loss"].mean()
    return loss


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
