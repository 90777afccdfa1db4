"""`bevdiag fix` on a config whose grid stops every step."""

from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.config import read_document
from bevdiag.errors import ExitCode, InputError, NoVerdictError
from bevdiag.models.interfaces import Changes
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.remedies.fix import fix
from bevdiag.rules.checks import check_config

SOUND = Path(__file__).parents[1] / "rules" / "second.yaml"
OPTIONS = InspectOptions(device="meta")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    text = SOUND.read_text(encoding="utf-8")
    before = "POINT_CLOUD_RANGE: [0, -3.2, -3, 6.4, 3.2, 1]"
    assert before in text
    path = tmp_path / "broken.yaml"
    after = "POINT_CLOUD_RANGE: [0, -3.2, -2.02, 6.61, 3.31, -0.08]"
    path.write_text(text.replace(before, after), encoding="utf-8")
    return path


def test_the_grid_is_written_as_one_edit_without_a_budget(broken: Path) -> None:
    report = fix(broken, OPTIONS, lambda what, share: None, write=True)
    assert report.written
    assert report.exit_code is ExitCode.FITS
    assert check_config(broken, read_document(broken)) == ()
    # The comment beside the voxel size gave the old grid's figures.
    assert "voxels" not in next(
        line for line in broken.read_text(encoding="utf-8").splitlines() if "VOXEL_SIZE" in line
    )


def test_a_sound_grid_still_needs_something_to_fit() -> None:
    with pytest.raises(InputError, match="say what the step must fit"):
        fix(SOUND, OPTIONS, lambda what, share: None)


@pytest.mark.parametrize("gpu", [None, "a100-80gb"])
def test_a_repositorys_step_is_tried_as_it_is_before_its_grid_is_put_right(
    broken: Path, gpu: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def built_in(config: Path, options: InspectOptions, edits: Changes | None = None) -> BuiltIn:
        tried.append(edits)
        return BuiltIn.read(config, replace(options, source=None), edits)

    monkeypatch.setattr("bevdiag.remedies.fix.source_of", built_in)
    options = replace(OPTIONS, source=broken.parent, gpu=gpu)
    report = fix(broken, options, lambda what, share: None, write=True)
    assert report.written
    # The third time, what was written is read again.
    assert [bool(edits) for edits in tried] == [False, True, False]
    assert check_config(broken, read_document(broken)) == ()


def test_a_repositorys_step_that_fails_on_a_sound_grid_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> BuiltIn:
        raise NoVerdictError("detector.py:3: it does not run")

    monkeypatch.setattr("bevdiag.remedies.fix.source_of", fails)
    options = replace(OPTIONS, source=SOUND.parent, gpu="a100-80gb")
    with pytest.raises(NoVerdictError, match=r"detector\.py:3"):
        fix(SOUND, options, lambda what, share: None)
