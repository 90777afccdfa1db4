"""`bevdiag fix` on a config whose grid stops every step."""

from pathlib import Path

import pytest

from bevdiag.config import read_document
from bevdiag.errors import ExitCode, InputError
from bevdiag.prediction.options import InspectOptions
from bevdiag.remedies.fix import FixOptions, fix
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
    report = fix(broken, OPTIONS, FixOptions(write=True), lambda what, share: None)
    assert report.written
    assert report.exit_code is ExitCode.FITS
    assert check_config(broken, read_document(broken)) == ()
    # The comment beside the voxel size gave the old grid's figures.
    assert "voxels" not in next(
        line for line in broken.read_text(encoding="utf-8").splitlines() if "VOXEL_SIZE" in line
    )


def test_a_sound_grid_still_needs_something_to_fit() -> None:
    with pytest.raises(InputError, match="say what the step must fit"):
        fix(SOUND, OPTIONS, FixOptions(), lambda what, share: None)
