"""A recorder that takes the host for a GPU, and what a call holds under it."""

import importlib
import importlib.machinery
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs.imports import StubFinder
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder
from tests.source.stubs.finders import Write
from tests.source.stubs.mmcv_calls import Held


@pytest.fixture
def recorder() -> Recorder:
    assumed = AssumedValues(Scenario.EXPECTED, {})
    recorder = new_recorder(Attribution(nn.Module()))
    recorder.values = assumed
    begin(SimulatedGpu(recorder, assumed))
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
    values = RehearsedValues()
    begin(SimulatedGpu(new_recorder(Attribution(nn.Module())), values))


@pytest.fixture
def finder(tmp_path: Path) -> Iterator[StubFinder]:
    (tmp_path / "repo").mkdir()
    (tmp_path / "site").mkdir()
    before = set(sys.modules)
    made = StubFinder(tmp_path / "repo", {})
    sys.meta_path.append(made)
    sys.path[:0] = [str(tmp_path / "repo"), str(tmp_path / "site")]
    yield made
    del sys.path[:2]
    sys.meta_path.remove(made)
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path, finder: StubFinder) -> Write:
    def make(place: str, code: str) -> ModuleType:
        (tmp_path / place).write_text(code)
        importlib.invalidate_caches()
        return importlib.import_module(Path(place).stem)

    return make
