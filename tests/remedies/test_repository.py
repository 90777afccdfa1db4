"""Changes to the config of a repository, none of which needs a module of bevdiag's."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bevdiag.errors import InputError
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import Repository
from bevdiag.remedies.fix import fix
from bevdiag.remedies.sets import with_fix
from bevdiag.rules.checks import fixes_of
from bevdiag.rules.finding import Fix
from bevdiag.rules.switches import reads_amp
from bevdiag.source.dialects.python_configs import settings_of

TOY = Path(__file__).parents[1] / "source" / "repo"
CONFIG = "tools/cfgs/models/one_stage.yaml"
LARGE = (
    "DATA_CONFIG.POINT_CLOUD_RANGE=[0, -40, -3, 70.4, 40, 1]",
    "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels_placeholder.VOXEL_SIZE=[0.1, 0.1, 0.2]",
)
Find = Callable[..., dict[str, Fix]]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TOY, tmp_path / "repo"))


@pytest.fixture
def find(repository: Path) -> Find:
    def find(*overrides: str, **wanted: Any) -> dict[str, Fix]:
        return {c.id: c for c in fixes_of(_source(repository, *overrides, **wanted))}

    return find


def _source(repository: Path, *overrides: str, **wanted: Any) -> Repository:
    options = InspectOptions(source=str(repository), overrides=overrides, **wanted)
    return Repository.read(repository / CONFIG, options)


def test_nothing_needs_a_module_of_bevdiags(find: Find) -> None:
    found = find(*LARGE)
    assert set(found) == {"voxel-xy-2", "smaller-range", "batch-1"}
    assert not any(candidate.needs for candidate in found.values())
    assert all(candidate.unsafe for candidate in found.values())


def test_what_the_user_decided_stays(find: Find) -> None:
    assert "batch-1" not in find(batch_size=2)


@pytest.mark.parametrize("key", ["USE_AMP", "USE_AMPLITUDE"])
def test_half_precision_is_offered_where_the_key_is_read(
    repository: Path, find: Find, key: str
) -> None:
    (repository / "tools" / "train.py").write_text(f"amp = cfg.OPTIMIZATION.get('{key}', False)\n")
    assert reads_amp(_source(repository)) is (key == "USE_AMP")
    found = find()
    assert ("use-amp" in found) is (key == "USE_AMP")
    if key == "USE_AMP":
        assert found["use-amp"].edits == {("OPTIMIZATION", "USE_AMP"): True}
        assert found["use-amp"].autocast == "fp16"


def test_checkpointing_is_offered_where_a_class_of_the_config_reads_a_switch(
    repository: Path, find: Find
) -> None:
    (repository / "pcdet" / "vfe.py").write_text(
        "class VFE:\n    def __init__(self, model_cfg):\n"
        "        self.checked = model_cfg.get('USE_CKPT', False)\n"
        "        self.weights = model_cfg.get('PRETRAINED_CKPT', None)\n"
    )
    found = find()
    assert found["checkpoint-vfe"].edits == {("MODEL", "VFE", "USE_CKPT"): True}
    assert not any("PRETRAINED" in str(c.edits) for c in found.values())
    assert "checkpoint-vfe" not in find("MODEL.VFE.USE_CKPT=true")


def test_copies_of_the_grid_follow_the_voxels_but_channels_do_not(find: Find) -> None:
    grid = "MODEL.VFE.sparse_shape=[704, 800, 20]"
    changes = find(*LARGE, grid, "MODEL.VFE.FILTERS=[704, 800]")["voxel-xy-2"].edits
    entry = ("DATA_CONFIG", "DATA_PROCESSOR", "transform_points_to_voxels_placeholder")
    assert changes == {
        (*entry, "VOXEL_SIZE"): [0.2, 0.2, 0.2],
        ("MODEL", "VFE", "sparse_shape"): [352, 400, 20],
    }


def test_longer_voxels_leave_a_grid_that_the_same_strides_divide(find: Find) -> None:
    # 468 cells are whole at a stride of 4; half of them are not, a third are.
    bounds = "DATA_CONFIG.POINT_CLOUD_RANGE=[-23.4, -23.4, -3, 23.4, 23.4, 1]"
    found = find(*LARGE, bounds)
    assert "voxel-xy-3" in found
    cut = with_fix(_source(TOY, *LARGE, bounds), found["smaller-range"])
    assert cut.settings.grid_size == (356, 356, 20)


def test_a_smaller_range_is_cut_far_from_the_sensor_in_whole_strides(
    repository: Path, find: Find
) -> None:
    candidate = find(*LARGE)["smaller-range"]
    changed = with_fix(_source(repository, *LARGE), candidate)
    assert changed.settings.point_cloud_range == (0, -30.4, -3, 52.8, 30.4, 1)
    assert changed.settings.grid_size == (528, 608, 20)
    assert changed.edits == candidate.edits


def test_fewer_points_are_sampled(find: Find) -> None:
    processors = "DATA_CONFIG.DATA_PROCESSOR=[{NAME: sample_points, NUM_POINTS: {train: 400}}]"
    (candidate,) = (c for c in find(processors).values() if c.group == "samples")
    key = ("DATA_CONFIG", "DATA_PROCESSOR", "sample_points", "NUM_POINTS", "train")
    assert candidate.edits == {key: 200}


@pytest.mark.parametrize("amp", [(("optim_wrapper", "type"), "AmpOptimWrapper"), None])
def test_of_a_config_that_is_code_the_command_lines_options_are_changed(amp: Any) -> None:
    said = {
        "model": "VoxelNet", "dataset": "KittiDataset", "class_names": ["Car"],
        "features": ["x", "y", "z"], "stored": ["x", "y", "z"], "shuffled": True, "frames": 1,
        "range": [0, -40, -3, 70.4, 40, 1], "voxel_size": [0.05, 0.05, 0.1], "max_points": 5,
        "max_voxels": [16000, 40000], "batch_size": 6, "optimizer": "AdamW", "autocast": "off",
        "batch_key": ["train_dataloader", "batch_size"], "half_precision": amp,
    }  # fmt: skip
    config = Path("detector.py")
    source = Repository(
        path=config,
        options=InspectOptions(source="."),
        root=Path(),
        settings=settings_of(config, said, "train"),
        overrides=(),
        batch_size=6,
        autocast="off",
        optimizer="adamw",
    )
    assert {found.id: found.edits for found in fixes_of(source)} == {
        **({} if amp is None else {"use-amp": {amp[0]: amp[1]}}),
        "batch-3": {("train_dataloader", "batch_size"): 3},
        "batch-1": {("train_dataloader", "batch_size"): 1},
    }
    with pytest.raises(InputError, match="is code, which bevdiag does not edit"):
        fix(config, source.options, lambda *_: None)
