"""What README shows of a command is what the command prints today."""

import shlex
import shutil
from pathlib import Path

import pytest

from bevdiag.cli.main import run
from bevdiag.memory import verdict
from bevdiag.memory.catalogue import all_gpus
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.step_source import ENDS_THAT_JUDGE
from bevdiag.remedies.sets import apply_set, plan_of
from bevdiag.report.amounts import format_bytes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _shown(command: str) -> list[str]:
    """The indented lines that follow a command of README, and a blank line."""
    lines = README.split("\n")
    start = next(n for n, line in enumerate(lines) if line.startswith(f"    {command}"))
    shown = []
    for line in lines[start + 2 :]:
        if line and not line.startswith("    "):
            break
        shown.append(line.removeprefix("    "))
    return "\n".join(shown).strip("\n").split("\n")


def _printed(command: str, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    run([*shlex.split(command)[1:], *more])
    return capsys.readouterr().out.strip("\n").split("\n")


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # Other tests' session judges few GPUs, for speed; people see all.
    monkeypatch.setattr(verdict, "all_gpus", all_gpus)
    for name in ("BEVDIAG_GPU", "BEVDIAG_BUDGET", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_the_first_report(capsys: pytest.CaptureFixture[str]) -> None:
    """But for the fix, which the last test makes alone: its search takes minutes."""
    command = "bevdiag inspect configs/focalsst_dsvt.yaml --gpu a100-80gb --cudnn 9.1"
    printed = _printed(command, capsys, "--no-remedies")
    shown = _shown(command)
    fix = next(n for n, line in enumerate(shown) if line.startswith("Fix ─"))
    rest = next(n for n, line in enumerate(shown) if line.startswith("Next ─"))
    shown = [line for line in shown[:fix] + shown[rest:] if "$ bevdiag fix" not in line]
    assert printed == shown


def test_the_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    command = "bevdiag compare --compression max,learned,sparse_max --gpu a100-80gb"
    printed = _printed(command, capsys)
    start = next(n for n, line in enumerate(printed) if line.startswith("Variants ─")) + 1
    assert printed[start : printed.index("", start)] == _shown(command)


def test_the_gate_before_a_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cfgs").mkdir()
    shutil.copy(ROOT / "tests" / "rules" / "pointpillar.yaml", tmp_path / "cfgs")
    monkeypatch.chdir(tmp_path)
    command = "bevdiag preflight cfgs/pointpillar.yaml --gpu rtx4090 --margin 10%"
    shown = _shown(command)
    assert _printed(command, capsys) == shown
    in_docs = (ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")
    assert "".join(f"    {line}\n" for line in shown) in in_docs


def test_the_fix_of_the_first_report() -> None:
    options = InspectOptions(device="meta", gpu="a100-80gb", cudnn="9.1", remedies=False)
    source = BuiltIn.read(ROOT / "configs" / "focalsst_dsvt.yaml", options)
    changed, (change,) = apply_set(source, ["dsvt-height-stages"])
    plan = plan_of(changed, changed.record(ENDS_THAT_JUDGE), changed.target())
    words = (
        f"fits, a peak of {format_bytes(plan.peak_allocated_bytes or 0)}, at most "
        f"{format_bytes(plan.high_bytes or 0)}"
    )
    assert plan.fits
    assert f"      {change.id}: {words}\n" in README
    assert f"loses    {change.loses}" in README
