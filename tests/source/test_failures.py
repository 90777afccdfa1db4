import ast
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import bevdiag.source
from bevdiag.errors import NoVerdictError, RepositoryError
from bevdiag.source import cuda_api, mixed_values
from bevdiag.source.dialects.det3d import Det3d
from bevdiag.source.dialects.mmcv1 import infos
from bevdiag.source.dialects.mmengine.dialect import MMEngine
from bevdiag.source.dialects.protocol import loss_in
from bevdiag.source.downloads import NoWeights
from bevdiag.source.failures import Remedy, as_failure, exits_reported, failed, failures_reported
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs import inert
from bevdiag.source.stubs.spconv import SparseConvTensor
from bevdiag.trace import places
from bevdiag.trace.alternatives import TracedStep
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder

Trace = Callable[..., TracedStep]


def _failure(name: str, trace_repo: Trace) -> RepositoryError:
    with pytest.raises(RepositoryError) as caught:
        trace_repo("one_stage.yaml", overrides=(f"MODEL.NAME={name}",))
    return caught.value


def test_an_exit_is_reported_with_its_place(trace_repo: Trace) -> None:
    failure = _failure("Leaving", trace_repo)
    assert "failing.py:" in str(failure)
    assert "ends the process with exit code 0" in str(failure)


def test_an_error_without_a_message_shows_its_line_and_the_way_there(trace_repo: Trace) -> None:
    failure = _failure("Asserting", trace_repo)
    assert "AssertionError: at `assert out.dim() == 7`" in str(failure)
    assert "features read last" not in str(failure)
    assert [frame.split(" ")[2].rstrip(":") for frame in failure.frames] == ["forward", "fail"]
    assert "Traceback (most recent call last)" in failure.details


def test_a_layer_that_is_fed_other_channels_is_reported_by_whom(trace_repo: Trace) -> None:
    failure = _failure("Mismatching", trace_repo)
    assert "RuntimeError: " in str(failure)
    assert "same reduction dim" in str(failure)


def test_what_is_refused_is_reported_with_its_place(trace_repo: Trace) -> None:
    failure = _failure("Starting", trace_repo)
    assert "PermissionError: pcdet/models/detectors/failing.py:" in str(failure)
    assert "would signal a process" in str(failure)


def test_what_was_written_before_the_step_failed_is_reported_too(trace_repo: Trace) -> None:
    failure = _failure("Dumping", trace_repo)
    assert "ends the process with exit code 1" in str(failure)
    assert "before that, " in str(failure)
    assert "dump.pkl, which was diverted" in str(failure)


def test_many_findings_are_counted() -> None:
    with (
        pytest.raises(NoVerdictError) as caught,
        failures_reported(["a", "b", "a", "c", "d", "e", "d"]),
    ):
        raise NoVerdictError("it stops")
    assert str(caught.value) == "it stops; before that, a; b; c; 2 more"


def test_a_message_is_one_line() -> None:
    assert str(as_failure(ValueError("two\n lines"))) == "the repository: ValueError: two lines"
    assert "KeyError: without a message" in str(as_failure(KeyError()))


def _raise(error: BaseException) -> None:
    raise failed(error, ["a finding"])


def _exit() -> None:
    with exits_reported():
        raise SystemExit(1)


def _recorder() -> Recorder:
    values = AssumedValues(Scenario.EXPECTED, {})
    recorder = new_recorder(Attribution(nn.Module()))
    recorder.values = values
    begin(SimulatedGpu(recorder, values))
    return recorder


def _write_into_constants() -> None:
    recorder = _recorder()
    with recorder, recorder.for_device():
        canvas = torch.zeros(4)
    features = torch.empty(4, device="meta", requires_grad=True)
    mixed_values.make_writable(recorder, canvas, [features])


def _refuse(*_: object) -> None:
    raise RuntimeError("others hold on to it")


def _unknown_coordinates() -> None:
    with _recorder():
        coordinates = torch.empty(2, 4, dtype=torch.int32, device="meta")
        SparseConvTensor(torch.empty(2, 3, device="meta"), coordinates, (4, 4, 4), 1)


def _unknown_data_set() -> None:
    named: Any = SimpleNamespace(dump=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(infos, "required", lambda name: named)
        patch.setattr(infos, "_registry_of", lambda dataset: None)
        patch.setattr(infos, "class_of", lambda dataset: object)
        nothing: Any = None
        infos.write_scene(nothing, {"type": "OwnDataset"}, Path())


_WAYS: dict[Remedy, Callable[[], Any]] = {
    Remedy.PACKAGE: lambda: inert.Inert("open3d.resize")(),
    Remedy.KERNEL: lambda: inert.Inert("flash_attn.attention")(),
    Remedy.DATA: lambda: NoWeights("curve.pth").shape,
    Remedy.FILE: lambda: _raise(FileNotFoundError(2, "No such file", "infos.pkl")),
    Remedy.REFUSED: lambda: _raise(PermissionError("would signal a process")),
    Remedy.LEAVES: _exit,
    Remedy.ON_GPU: cuda_api.shut("_cuda_sleep"),
    Remedy.CONSTANTS: _write_into_constants,
    Remedy.VALUES: _unknown_coordinates,
    Remedy.LOSS: lambda: loss_in({"boxes": 1}, _exit),
    Remedy.CONFIG: lambda: Det3d(Path(), Path("a.py"), ()).described({}),
    Remedy.TRAINING: lambda: MMEngine(Path(), Path("a.py"), ()).predictions(
        nn.Identity(), MMEngine.BATCH({})
    ),
    Remedy.ENTRY: _unknown_data_set,
    Remedy.STEP: lambda: _raise(ValueError("any other error")),
}


@pytest.mark.parametrize("remedy", Remedy)
def test_every_kind_of_failure_says_what_helps(
    remedy: Remedy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inert, "_armed", [True])
    monkeypatch.setattr(cuda_api, "reached", [])
    monkeypatch.setattr(torch.utils, "swap_tensors", _refuse)
    with pytest.raises(NoVerdictError) as caught:
        _WAYS[remedy]()
    place, reason, *_ = str(caught.value).split(": ")
    assert place
    assert reason
    assert f": {remedy.value}" in str(caught.value)


def test_no_other_failure_of_a_repository_is_without_a_remedy() -> None:
    """What is raised in a rehearsal alone is a reason among others."""
    for file in Path(bevdiag.source.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                raised = ast.unparse(node.exc)
                if raised.startswith("NoVerdictError("):
                    assert "no values on the CPU" in raised or "in the same env" in raised, file


def test_an_assertion_shows_what_it_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.py"
    file.write_text("SIZE = 32\n\ndef check(self):\n    assert self.size == SIZE\n")
    monkeypatch.setattr(places, "_roots", [tmp_path])
    code: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), code)
    with pytest.raises(AssertionError) as caught:
        code["check"](SimpleNamespace(size=16))
    said = str(as_failure(caught.value))
    assert said.endswith("at `assert self.size == SIZE`, where self.size is 16, SIZE is 32")


def test_an_error_that_a_registry_raises_anew_keeps_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data_set.py"
    file.write_text("def make():\n    return None.Label\n")
    monkeypatch.setattr(places, "_roots", [tmp_path])
    code: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), code)

    def build() -> None:
        try:
            code["make"]()
        except AttributeError as error:
            raise type(error)(f"DataSet: {error}")  # noqa: B904 - as registries do

    with pytest.raises(AttributeError) as caught:
        build()
    assert str(as_failure(caught.value)).startswith("data_set.py:2: AttributeError: DataSet: ")
