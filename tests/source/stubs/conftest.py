"""A recorder that takes the host for a GPU, and what a call holds under it."""

from collections.abc import Callable

import pytest
from torch import nn

from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import Running, begin
from bevdiag.trace.assumed_values import NOBODY, AssumedValues, RehearsedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder
from tests.source.stubs.mmcv_calls import Held


@pytest.fixture
def recorder() -> Recorder:
    assumed = AssumedValues(Scenario.EXPECTED, {})
    recorder = Recorder(Attribution(nn.Module()))
    recorder.unknown = assumed
    begin(Running(SimulatedGpu(recorder, assumed), assumed))
    return recorder


@pytest.fixture
def held(recorder: Recorder) -> Held:
    """The sizes of what a call allocates on the device, in order."""

    def sizes(call: Callable[[], object]) -> list[int]:
        before = len(recorder.stream(1).nbytes)
        with recorder:
            call()
        made: list[int] = recorder.stream(1).nbytes[before:].tolist()
        return made

    return sizes


@pytest.fixture
def computes() -> None:
    values = RehearsedValues(NOBODY)
    begin(Running(SimulatedGpu(Recorder(Attribution(nn.Module())), values), values))
