"""Builds the repository's model: on the CPU as its code says, then without values."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bevdiag.memory.events import Category
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.operands import as_meta, stored_in
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.real_run import seed_draws

_LAYERS = ("torch.", "bevdiag.")
"""Where layers are defined whose frozen parameters are weights."""
_made_by_import: list[weakref.ref[torch.Tensor]] = []


def import_model(open_it: Callable[[], None]) -> None:
    """Import what the model is built from; what its modules put on the GPU is remembered."""
    gpu = _begun(AssumedValues(Scenario.EXPECTED, {}))

    def remember(func: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        for made in stored_in((outputs,)):
            if gpu.recorder.block_of(made) is not None:
                _made_by_import.append(weakref.ref(made))

    gpu.recorder.watcher = remember
    with gpu.recorder, gpu:
        open_it()


@contextmanager
def real_values() -> Iterator[None]:
    """Inside, code that names a GPU computes on the CPU, keeps its values, and draws the same."""
    seed_draws()
    gpu = _begun(RehearsedValues())
    with gpu.recorder, gpu:
        yield


def _begun(values: AssumedValues | RehearsedValues) -> SimulatedGpu:
    """Return the GPU, and its recorder, that stubs work for from here on."""
    recorder = new_recorder(Attribution(nn.Module()))
    recorder.bare_factories_on_host = True
    recorder.values = values
    gpu = SimulatedGpu(recorder, values)
    begin(gpu)
    return gpu


def build_model(
    build: Callable[[], nn.Module], values: AssumedValues | RehearsedValues
) -> tuple[nn.Module, SimulatedGpu]:
    """Build the model on a GPU whose recorder has then seen its construction.

    Its parameters are meta tensors, but in a rehearsal.
    """
    gpu = _begun(values)
    recorder = gpu.recorder
    for made in _made_by_import:
        kept = made()
        if kept is not None:
            recorder.adopt(kept, Category.PARAMETER, "", "import")
    with recorder, gpu:
        model = build()
    if isinstance(values, AssumedValues):
        values.step = lambda: recorder.step
        _drop_values(model)
    return model, gpu


def _drop_values(model: nn.Module) -> None:
    """Parameters and norm statistics become meta tensors; whoever holds one holds it still.

    What a repository's own module declares a parameter without gradient keeps its values: grids
    and frustums are, so that they move and are saved with the model, and their values are sizes.
    """
    geometry = {
        id(parameter)
        for module in model.modules()
        if not type(module).__module__.startswith(_LAYERS)
        for parameter in module.parameters(recurse=False)
        if not parameter.requires_grad
    }
    for parameter in model.parameters():
        if not parameter.is_meta and id(parameter) not in geometry:
            meta = nn.Parameter(as_meta(parameter.detach()), parameter.requires_grad)
            torch.utils.swap_tensors(parameter, meta)  # type: ignore[no-untyped-call]
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    # How many batches there were keeps its value: a copy, which is not the host's.
                    floats = buffer.is_floating_point()
                    module._buffers[name] = as_meta(buffer) if floats else buffer.clone()
