"""No false alarms: on configs that their authors train as shipped no rule reports an error."""

from pathlib import Path

import pytest

from bevdiag.config import read_document
from bevdiag.rules.checks import check_config
from bevdiag.rules.finding import Severity

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
OPENPCDET = SHARED / "openpcdet" / "cfgs"
FOCAL = SHARED / "focalsst" / "cfgs" / "sonar_models"


def _configs(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*_models/*.yaml"))
    absent = pytest.mark.skip(reason=f"{folder.parent.name}'s configs are not beside this checkout")
    return found or [pytest.param(folder, marks=absent)]


def _errors(path: Path) -> set[tuple[str, str]]:
    findings = check_config(path, read_document(path))
    return {(f.code, f.key) for f in findings if f.severity is Severity.ERROR}


@pytest.mark.parametrize(
    "path", _configs(OPENPCDET), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_openpcdets_configs_have_no_error(path: Path) -> None:
    assert _errors(path) == set()


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("focal_sst", {("BEV201", "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES")}),
        (
            "second_sonar",
            {
                ("BEV103", "DATA_CONFIG.POINT_CLOUD_RANGE"),
                ("BEV106", "MODEL.DENSE_HEAD.TARGET_ASSIGNER_CONFIG.FEATURE_MAP_STRIDE"),
                ("BEV201", "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES"),
            },
        ),
    ],
)
def test_the_reports_configs_have_the_errors_that_they_have(
    name: str, errors: set[tuple[str, str]]
) -> None:
    path = FOCAL / f"{name}.yaml"
    if not path.is_file():
        pytest.skip("the report's configs are not beside this checkout")
    assert _errors(path) == errors


def test_the_shipped_config_has_no_error() -> None:
    assert _errors(ROOT / "configs" / "focalsst_dsvt.yaml") == set()
    assert _errors(ROOT / "configs" / "focalsst_dsvt_declared128.yaml") == {
        ("BEV201", "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES")
    }
