"""What is read of a config of MMEngine, and what the parent makes of it."""

from pathlib import Path
from typing import Any

import pytest

from bevdiag.errors import ConfigError, NoVerdictError
from bevdiag.scenes import ROOM_RANGE
from bevdiag.source.dialects import python_configs
from bevdiag.source.dialects.mmengine.config import described, required
from bevdiag.source.dialects.python_configs import settings_of
from bevdiag.source.stubs.packages import EasyDict

PIPELINE = [
    {"type": "LoadPointsFromFile", "load_dim": 5, "use_dim": 4},
    {"type": "LoadPointsFromMultiSweeps", "sweeps_num": 9},
    {"type": "PointsRangeFilter", "point_cloud_range": [0, -40, -3, 70.4, 40, 1]},
    {"type": "PointShuffle"},
]
DATASET = {
    "type": "RepeatDataset",
    "dataset": {
        "type": "NuScenesDataset", "pipeline": PIPELINE, "metainfo": {"classes": ["car", "bus"]}
    },
}  # fmt: skip
LAYER = {"voxel_size": [0.05, 0.05, 0.1], "max_num_points": 5, "max_voxels": [16000, 40000]}


def _config(**changes: Any) -> EasyDict:
    written = {
        "model": {"type": "VoxelNet", "data_preprocessor": {"voxel_layer": LAYER}},
        "train_dataloader": {"batch_size": 6, "dataset": DATASET},
        "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD"}},
    }
    return EasyDict({**written, **changes})


def test_a_config_says_what_its_scene_and_step_are() -> None:
    settings = settings_of(Path("a.py"), described(_config()), "train")
    assert settings.class_names == ("car", "bus")
    assert settings.point_features == ("x", "y", "z", "intensity")
    assert settings.point_cloud_range == (0, -40, -3, 70.4, 40, 1)
    assert settings.grid_size == (1408, 1600, 40)
    assert (settings.max_points, settings.max_voxels) == (5, 16000)
    assert settings.document.get("MODEL.NAME") == "VoxelNet"
    assert settings.document.get("DATA_CONFIG.DATASET") == "NuScenesDataset"
    assert settings.document.get("DATA_CONFIG.MAX_SWEEPS") == 10
    assert settings.optimization.batch_size_per_gpu == 6
    assert settings.optimization.optimizer == "sgd"
    assert not settings.optimization.use_amp


def test_evaluation_has_voxels_of_its_own() -> None:
    assert settings_of(Path("a.py"), described(_config()), "test").max_voxels == 40000


def test_a_dynamic_voxelizer_has_no_bounds() -> None:
    layer = {"voxel_size": [0.1, 0.1, 0.2], "max_num_points": -1, "max_voxels": [-1, -1]}
    model = {"type": "VoxelNet", "data_preprocessor": {"voxel_layer": layer}}
    settings = settings_of(Path("a.py"), described(_config(model=model)), "train")
    assert (settings.max_points, settings.max_voxels) == (None, None)


def test_the_wrapper_decides_the_precision() -> None:
    wrapper = {"type": "AmpOptimWrapper", "optimizer": {"type": "AdamW"}}
    assert described(_config(optim_wrapper=wrapper))["autocast"] == "fp16"
    wrapper["dtype"] = "bfloat16"
    assert described(_config(optim_wrapper=wrapper))["autocast"] == "bf16"


@pytest.mark.parametrize(
    ("part", "library"),
    [({"type": "TR3DMinkResNet"}, "MinkowskiEngine"), ({"backend": "torchsparse"}, "TorchSparse")],
)
def test_libraries_with_allocators_of_their_own_are_refused(part: Any, library: str) -> None:
    model = {"type": "Detector", "backbone": part}
    with pytest.raises(NoVerdictError, match=f"the model runs on {library}"):
        described(_config(model=model))


def test_a_config_that_trains_nothing_is_one_sentence() -> None:
    with pytest.raises(NoVerdictError, match=r"no data set to train on \(train_dataloader"):
        described(_config(train_dataloader={}))


def test_a_config_of_before_mmengine_says_so() -> None:
    with pytest.raises(NoVerdictError, match=r"only one of before MMEngine, data\.train"):
        described(_config(train_dataloader={}, data={"train": {"type": "CocoDataset"}}))


def test_an_indoor_data_set_is_seen_as_a_room() -> None:
    dataset = {"type": "ScanNetDataset", "metainfo": {"classes": ["bed"]}}
    indoor = _config(model={"type": "VoteNet"}, train_dataloader={"dataset": dataset})
    assert described(indoor)["range"] == list(ROOM_RANGE)


def test_a_config_without_classes_is_one_sentence() -> None:
    said = {**described(_config()), "class_names": []}
    with pytest.raises(ConfigError, match="expected the data set's classes"):
        settings_of(Path("a.py"), said, "train")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr(python_configs.importlib, "import_module", missing)
    with pytest.raises(NoVerdictError, match="mmengine is not installed where bevdiag runs"):
        required("mmengine.config")
