"""mmdetection3d's own code against steps that were measured; only where it is installed.

`.ci/field` installs it: mmengine, mmcv-lite, mmdet and mmdet3d, without torchvision.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import bevdiag
from bevdiag.errors import InputError
from bevdiag.prediction.judged import judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import Repository
from bevdiag.scenes.scenario import Scenario

FOUND = importlib.util.find_spec("mmdet3d")
pytestmark = pytest.mark.skipif(FOUND is None, reason="mmdet3d is not installed")
ROWS = Path(bevdiag.__file__).parent / "accuracy" / "measured" / "mmdet3d_h200.json"
FURTHEST = 0.03


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package and configs side by side, as a checkout has them."""
    assert FOUND is not None
    assert FOUND.origin is not None
    package, folder = Path(FOUND.origin).parent, tmp_path_factory.mktemp("mmdetection3d")
    shutil.copytree(package, folder / "mmdet3d", ignore=shutil.ignore_patterns(".mim"))
    shutil.copytree(package / ".mim" / "configs", folder / "configs")
    return folder


def _source(checkout: Path, config: str, **options: object) -> Repository:
    asked = InspectOptions(source=str(checkout), gpu="h200", torch="2.11.0", **options)  # type: ignore[arg-type]
    return Repository.read(checkout / "configs" / config, asked)


@pytest.mark.parametrize("name", ["pointpillars_kitti_b6", "second_kitti_b6"])
def test_a_step_takes_what_was_measured(checkout: Path, name: str) -> None:
    row = json.loads(ROWS.read_text(encoding="utf-8"))[name]
    source = _source(checkout, row["config"], rehearses=False)
    assert source.batch_size == row["batch_size"]
    recorded = source.record((Scenario.EXPECTED,))
    step = judged(recorded.traces, source.target())
    assert step.trace.params_by_module["total"] == row["params"]
    measured = row["peak_allocated_bytes"]
    assert abs(step.expected.peak.allocated_bytes / measured - 1) < FURTHEST
    assert any("ObjectSample was left out" in note for note in recorded.notes)


def test_cfg_options_reach_the_config(checkout: Path) -> None:
    config = "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py"
    source = _source(checkout, config, overrides=("train_dataloader.batch_size=2",))
    assert source.batch_size == 2
    with pytest.raises(InputError, match="expected KEY=value"):
        _source(checkout, config, overrides=("train_dataloader.batch_size",))
