"""The whole way of `bevdiag fix` on the small model, with few changes to try."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bevdiag.config import load_config
from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.remedies import fix as fixing
from bevdiag.remedies import search, sets
from bevdiag.remedies.fix import fix
from bevdiag.remedies.results import FixReport
from bevdiag.rules.checks import fixes_of

MIB = 2**20
FEW = {"dsvt-checkpoint", "focal-topk", "fewer-voxels"}
BUDGET = 235 * MIB
"""Below the small model's upper end, above it with the top-k or with fewer voxels."""


@pytest.fixture(scope="module", autouse=True)
def _few_changes() -> Iterator[None]:
    def few(*args: Any) -> Any:
        return (candidate for candidate in fixes_of(*args) if candidate.id in FEW)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "fixes_of", few)
        patch.setattr(sets, "fixes_of", few)
        patch.setattr(fixing, "advice_for", lambda *_: ())
        yield


@pytest.fixture
def config(small: Any, tmp_path: Path) -> Path:
    path = tmp_path / "model.yaml"
    path.write_bytes(small.config.read_bytes())
    return path


def _fix(small: Any, config: Path, budget: int = BUDGET, **how: bool) -> FixReport:
    options = small.options(pinned=False, budget_bytes=budget)
    return fix(config, options, small.progress, **how)


def _write(small: Any, config: Path, found: FixReport) -> FixReport:
    """The end of the way alone, for a copy of the file that was searched for."""
    options = small.options(pinned=False, budget_bytes=BUDGET)
    assert found.chosen is not None
    changed, _ = sets.apply_set(BuiltIn.read(config, options), found.chosen.ids)
    return fixing._with_edits(changed, found, write=True)


@pytest.fixture(scope="module")
def found(small: Any) -> FixReport:
    return _fix(small, small.config)


def test_the_cheapest_set_that_fits_is_chosen(found: FixReport) -> None:
    assert found.base.verdict is not Verdict.FITS
    assert found.chosen is not None
    assert found.chosen.verdict is Verdict.FITS
    assert found.chosen.high_bytes is not None
    assert found.chosen.high_bytes <= BUDGET
    cheaper = [o for o in (*found.singles, *found.combined) if o.cost < found.chosen.cost]
    assert not any(plan.fits and not plan.unsafe for plan in cheaper)
    assert found.exit_code is ExitCode.FITS


def test_every_set_says_what_it_costs(found: FixReport) -> None:
    checkpoint = next(o for o in found.singles if o.id == "dsvt-checkpoint")
    assert (checkpoint.flops or 0) > (found.base.flops or 0) > 0
    assert checkpoint.params == found.base.params


def test_dearer_changes_are_not_traced_where_a_cheaper_one_fits(found: FixReport) -> None:
    assert [plan.id for plan in found.singles] == ["focal-topk", "dsvt-checkpoint"]
    assert not any(plan.needs or plan.unsafe for plan in found.singles)


def test_the_diff_changes_only_what_it_shows(found: FixReport) -> None:
    changed = [
        line
        for line in found.diff.splitlines()
        if line[:1] in "+-" and line[:3] not in ("---", "+++")
    ]
    assert changed == ["+      FOCAL_TOPK: true", "+      FOCAL_THRESHOLD: 0.1"]
    assert not found.written


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("end", ["\n", "", "\r\n"])
@pytest.mark.parametrize("git", [["git", "apply"], ["patch", "-p1", "--binary"]], ids=" ".join)
def test_git_and_patch_apply_the_diff(
    git: list[str], end: str, absolute: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(git[0]) is None:
        pytest.skip(f"needs {git[0]}")
    monkeypatch.chdir(tmp_path)
    path = Path("cfgs/my model.yaml")
    path.parent.mkdir()
    before = f"MODEL:{end or chr(10)}  NAME: A{end}"
    after = before.replace("A", "B")
    path.write_bytes(before.encode())
    diff = fixing._diff(path.absolute() if absolute else path, before, after)
    subprocess.run(git, input=diff.encode(), check=True, timeout=30)
    assert path.read_bytes() == after.encode()


def test_what_is_written_is_what_was_found_and_needs_no_second_time(
    small: Any, config: Path, found: FixReport
) -> None:
    before = config.read_bytes()
    report = _write(small, config, found)
    assert report.written
    assert report.refusal == ""
    after = config.read_bytes()
    assert after != before
    kept = [line for line in after.splitlines() if line in before.splitlines()]
    assert kept == before.splitlines()
    assert load_config(config).document.get("MODEL.BACKBONE_3D.FOCAL_ENCODER.FOCAL_TOPK") is True
    again = _fix(small, config, write=True)
    assert again.base.fits
    assert again.chosen is None
    assert report.chosen is not None
    assert again.base.high_bytes == report.chosen.high_bytes
    assert config.read_bytes() == after


def test_a_file_that_turns_out_otherwise_is_put_back(
    small: Any, config: Path, found: FixReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixing, "_checked_again", lambda *_: "it does not fit any more")
    before = config.read_bytes()
    report = _write(small, config, found)
    assert config.read_bytes() == before
    assert not report.written
    assert report.refusal == "it does not fit any more: the file is as it was"
    assert report.exit_code is ExitCode.NO_VERDICT


def test_where_nothing_fits_the_least_is_known(small: Any) -> None:
    report = _fix(small, small.config, budget=MIB)
    assert report.chosen is None
    assert report.diff == ""
    assert report.combined[-1].ids == ("focal-topk", "dsvt-checkpoint")
    assert {plan.id for plan in report.singles} == FEW
    assert any(plan.unsafe for plan in report.singles)
    assert not any(plan.unsafe for plan in (*report.combined, *report.frontier))
    assert report.exit_code is ExitCode.FINDINGS


def test_channels_that_do_not_arrive_are_mended_first(small: Any, config: Path) -> None:
    text = config.read_text()
    wrong = text.replace("NUM_BEV_FEATURES: 1280", "NUM_BEV_FEATURES: 128")
    assert wrong != text
    config.write_text(wrong)
    report = _fix(small, config, budget=2**40)
    assert report.chosen is not None
    assert report.chosen.ids == ()
    assert "+    NUM_BEV_FEATURES: 1280" in report.diff
