"""Small recordings: a few operations, or the steps of a toy model, as the trace sees them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.memory.events import Alloc, Category, EventStream, Phase
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.autocast import Autocast
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.functions import cuda_functions
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.step import StepOptions, Trace, meta_checkpoints, trace_steps


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Recordings:
    """What the tests of this room share."""

    @staticmethod
    @contextmanager
    def recording(
        model: nn.Module | None = None, *, autocast: Autocast | None = None
    ) -> Iterator[Recorder]:
        """A recorder over whatever runs inside, in the forward phase of step 1.

        What the model holds is adopted while loading.
        """
        model = model or nn.Module()
        with without_compiler(), meta_checkpoints(), Attribution(model) as attribution:
            recorder = new_recorder(attribution)
            for tensor in (*model.parameters(), *model.buffers()):
                recorder.adopt(tensor, Category.PARAMETER, "", "Module.to")
            attribution.begin_step()
            with recorder, cuda_functions(recorder, autocast):
                recorder.mark(1, Phase.FORWARD)
                yield recorder
            recorder.stop()

    @staticmethod
    def steps(
        model: nn.Module,
        batch: Mapping[str, Any] | None = None,
        *,
        optimizer: str = "sgd",
        autocast: str = "off",
        num_steps: int = 2,
        **optimization: Any,
    ) -> Trace:
        """Whole training steps of a model that takes a dict of tensors and returns its loss."""
        options = StepOptions(
            optimization=OptimizationSettings(**optimization),
            optimizer=optimizer,
            autocast=autocast,
            num_steps=num_steps,
        )
        return trace_steps(model, batch or {}, options)

    optimization = OptimizationSettings

    @staticmethod
    def allocs(stream: EventStream, **wanted: Any) -> list[Alloc]:
        """The allocations whose fields have the wanted values."""
        return [
            event
            for event in stream.allocs()
            if all(getattr(event, name) == value for name, value in wanted.items())
        ]

    @staticmethod
    def alive_after(stream: EventStream) -> dict[int, Alloc]:
        """The blocks that are allocated and not freed."""
        alive = stream.allocs(stream.freed == len(stream.events))
        return {alloc.block: alloc for alloc in alive}


@pytest.fixture(scope="session")
def recordings() -> type[Recordings]:
    return Recordings
