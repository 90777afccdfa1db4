import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bevdiag.cli.main import run
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Plan, Scene
from bevdiag.remedies.results import FitReport, FixReport

TARGET = DeviceTarget(
    gpu=None,
    capacity_bytes=2**30,
    torch="2",
    cudnn=(9, 0, 0),
    compute_capability=(9, 0),
    multiprocessors=132,
)
SCENE = Scene(source="made up", batch_size=1, num_points=1, num_voxels=1, grid_size=(1, 1, 1))
OVER = Plan(changes=(), edits={}, verdict=Verdict.OVER, high_bytes=2**31, flops=1)
REPORT = FixReport(config="m.yaml", target=TARGET, scene=SCENE, base=OVER)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for what searches: notes the question, answers `report`."""
    noted = SimpleNamespace(report=REPORT)

    def fix(config: Path, options: InspectOptions, progress: Any, **how: bool) -> FixReport:
        noted.options, noted.how = options, SimpleNamespace(**how)
        report: FixReport = noted.report
        return report

    def fit(config: Path, options: InspectOptions, knob: str, progress: Any) -> FitReport:
        noted.options, noted.knob = options, knob
        return FitReport(
            config="m.yaml",
            target=TARGET,
            scene=SCENE,
            knob=knob,
            unit="samples a step",
            now=1,
            largest=None,
            binds_until=None,
            points=(),
        )

    fixing, fitting = ModuleType("bevdiag.remedies.fix"), ModuleType("bevdiag.remedies.fit")
    fixing.fix = fix  # type: ignore[attr-defined]
    fitting.fit = fit  # type: ignore[attr-defined]
    for module in (fixing, fitting):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return noted


def test_a_diff_is_all_that_goes_to_stdout(
    asked: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.report = replace(
        REPORT, chosen=replace(OVER, verdict=Verdict.FITS), diff="--- a\n+++ b\n"
    )
    assert run(["fix", "m.yaml", "--gpu", "rtx4090", "--diff"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "--- a\n+++ b\n"
    assert "fits" in captured.err
    assert asked.options.gpu == "rtx4090"
    assert (asked.how.unsafe, asked.how.write) == (False, False)


def test_writing_and_unsafe_changes_are_asked_for(asked: SimpleNamespace) -> None:
    assert run(["fix", "m.yaml", "--budget", "1GiB", "--write", "--unsafe"]) == 1
    assert (asked.how.unsafe, asked.how.write) == (True, True)


@pytest.mark.parametrize("other", [["--write"], ["--format", "json"]])
def test_a_diff_goes_with_nothing_else(
    asked: SimpleNamespace, capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    assert run(["fix", "m.yaml", "--diff", *other]) == 2
    assert "--diff prints the edits and nothing else" in capsys.readouterr().err


def test_the_knob_is_passed_on(asked: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fit", "m.yaml", "--what", "max-voxels", "--gpu", "rtx4090"]) == 1
    assert asked.knob == "max-voxels"
    assert capsys.readouterr().out.startswith("Not even one fits")


@pytest.mark.parametrize("command", ["fix", "fit"])
def test_a_search_can_be_given_its_patience(asked: SimpleNamespace, command: str) -> None:
    run([command, "m.yaml", "--budget", "1GiB", "--timeout", "30"])
    assert asked.options == InspectOptions(
        process_bytes=2**30, origin="--budget", timeout_seconds=30, remedies=False, device="meta"
    )


def test_an_unknown_knob_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fit", "m.yaml", "--what", "voxels"]) == 2
    assert "--what: 'voxels' is not one of batch, max-voxels" in capsys.readouterr().err
