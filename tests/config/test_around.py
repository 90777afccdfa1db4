"""The repository around a config tells its own modules from slips."""

from pathlib import Path

import pytest

from bevdiag.config import read_document
from bevdiag.config.around import is_own_module, module_names, package_of, repository_of
from bevdiag.errors import InputError
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
    repository_of.cache_clear()
    return folder / "own.yaml"


def _severities(config: Path, name: str) -> list[Severity]:
    config.write_text(CONFIG % name, encoding="utf-8")
    found = check_config(config, read_document(config))
    return [f.severity for f in found if f.code == "BEV008"]


def test_a_class_or_a_registered_name_of_the_repository_is_its_own(config: Path) -> None:
    assert repository_of(config) == config.parents[2] / "pcdet"
    assert is_own_module(config, "WideVFE")
    assert is_own_module(config, "TallVFE")
    assert not is_own_module(config, "VFETemplate")


def test_a_fork_may_call_the_package_otherwise(tmp_path: Path) -> None:
    detectors = tmp_path / "toydet" / "models" / "detectors"
    detectors.mkdir(parents=True)
    (detectors / "wide.py").write_text("class WideNet:\n    pass\n", encoding="utf-8")
    config = tmp_path / "tools" / "own.yaml"
    assert repository_of(config) is None
    (tmp_path / "setup.py").touch()
    repository_of.cache_clear()
    assert repository_of(config) == tmp_path / "toydet"
    assert is_own_module(config, "WideNet")


STEPS = {
    "DATASET: ToyData": "class ToyData:\n    pass\n",
    "POINT_FEATURE_ENCODING: {encoding_type: toy}": "class A:\n    def toy(self):\n",
    "DATA_PROCESSOR: [{NAME: toy_step}]": "class A:\n    def toy_step(self):\n",
    "DATA_AUGMENTOR: {AUG_CONFIG_LIST: [{NAME: toy_flip}]}": "class A:\n    def toy_flip(self):\n",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_data_is_wrong_until_the_repository_has_it(config: Path, step: str) -> None:
    def severities(file: Path) -> list[Severity]:
        file.write_text(f"DATA_CONFIG:\n  {step}\nMODEL: {{}}\n", encoding="utf-8")
        return [f.severity for f in check_config(file, read_document(file)) if f.code == "BEV008"]

    assert severities(config) == [Severity.ERROR]
    alone = config.parents[3] / "alone.yaml"
    is_of_a_list = "NAME" in step
    assert severities(alone) == ([Severity.WARNING] if is_of_a_list else [])
    datasets = config.parents[2] / "pcdet" / "datasets"
    datasets.mkdir()
    (datasets / "toy.py").write_text(STEPS[step], encoding="utf-8")
    module_names.cache_clear()
    assert severities(config) == []


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


def _file(root: Path, name: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True)
    file.touch()


def test_the_package_may_have_any_name(tmp_path: Path) -> None:
    _file(tmp_path, "ournet/models/detectors/__init__.py")
    assert package_of(tmp_path) == "ournet"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("below/pcdet/models/detectors/__init__.py", "give .*below"),
        ("mmdet3d/__init__.py", "mmdetection3d's kind.*--entry FILE.py:function"),
        ("det3d/__init__.py", "det3d's kind"),
        ("src/main.py", "has no package with models/detectors.*--entry FILE.py:function"),
    ],
)
def test_what_else_it_is_is_one_sentence(tmp_path: Path, name: str, said: str) -> None:
    _file(tmp_path, name)
    with pytest.raises(InputError, match=said):
        package_of(tmp_path)
