"""The repository around a config tells its own modules from slips."""

from pathlib import Path

import pytest

from bevdiag.config import read_document
from bevdiag.config.around import is_own_module, module_names, repository_of
from bevdiag.rules.checks import check_config
from bevdiag.rules.finding import Severity

MODULE = "class WideVFE(VFETemplate):\n    pass\n\n__all__ = {\n    'TallVFE': WideVFE,\n}\n"
CONFIG = "MODEL: {NAME: CenterPoint, VFE: {NAME: %s}}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    models = tmp_path / "pcdet" / "models" / "backbones_3d" / "vfe"
    models.mkdir(parents=True)
    (models / "wide_vfe.py").write_text(MODULE, encoding="utf-8")
    folder = tmp_path / "tools" / "cfgs"
    folder.mkdir(parents=True)
    module_names.cache_clear()
    return folder / "own.yaml"


def _severities(config: Path, name: str) -> list[Severity]:
    config.write_text(CONFIG % name, encoding="utf-8")
    found = check_config(config, read_document(config))
    return [f.severity for f in found if f.code == "BEV008"]


def test_a_class_or_a_registered_name_of_the_repository_is_its_own(config: Path) -> None:
    assert repository_of(config) == config.parents[2]
    assert is_own_module(config, "WideVFE")
    assert is_own_module(config, "TallVFE")
    assert not is_own_module(config, "VFETemplate")


@pytest.mark.parametrize(
    ("name", "severities"),
    [("WideVFE", []), ("MeanVFE", []), ("Quux", [Severity.ERROR])],
)
def test_in_a_repository_a_name_is_known_or_wrong(
    config: Path, name: str, severities: list[Severity]
) -> None:
    assert _severities(config, name) == severities


@pytest.mark.parametrize(
    ("name", "severities"), [("MeanVEF", [Severity.ERROR]), ("WideVFE", [Severity.WARNING])]
)
def test_elsewhere_only_a_slip_is_certain(
    tmp_path: Path, name: str, severities: list[Severity]
) -> None:
    assert _severities(tmp_path / "alone.yaml", name) == severities


def test_keys_that_only_a_fork_reads_leave_no_certainty() -> None:
    path = Path(__file__).parents[1] / "rules" / "second.yaml"
    wrong = "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES=192"

    def severity(*overrides: str) -> Severity:
        found = check_config(path, read_document(path, (wrong, *overrides)))
        return next(f.severity for f in found if f.code == "BEV201")

    assert severity() is Severity.ERROR
    assert severity("MODEL.BACKBONE_3D={NAME: VoxelBackBone8x, WIDTH: 0.75}") is Severity.WARNING
    # A slip of the pen is none.
    assert severity("MODEL.BACKBONE_3D={NAME: VoxelBackBone8x, last_pda: 0}") is Severity.ERROR
