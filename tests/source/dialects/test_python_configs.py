"""What families with configs of Python code share."""

from pathlib import Path

from bevdiag.source.dialects.mmengine.dialect import MMEngine
from bevdiag.source.dialects.python_configs import settings_of, without_weights
from bevdiag.source.state import noted
from tests.source.dialects.mmengine.configs_of import _config

described = MMEngine(Path(), Path("a.py"), ()).described


def test_weights_that_a_model_would_load_are_taken_out_and_noted() -> None:
    model = {
        "pretrained": None,
        "backbone": {"init_cfg": {"type": "Pretrained", "checkpoint": "swin.pth"}},
        "necks": [{"init_cfg": {"type": "Xavier"}}, {"pretrained": "neck.pth"}],
    }
    assert without_weights(model) == {
        "pretrained": None,
        "backbone": {"init_cfg": None},
        "necks": [{"init_cfg": {"type": "Xavier"}}, {"pretrained": None}],
    }
    for name in ("swin.pth", "neck.pth"):
        assert any(f"weights ({name}) were not loaded" in sentence for sentence in noted())


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
