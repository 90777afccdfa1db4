"""OpenPCDet's one-stage detectors on a small grid: with values, and without."""

import numpy as np
import pytest
import torch

from bevdiag.config.model_settings import DataSettings, ModelSettings
from bevdiag.errors import ConfigError
from bevdiag.models.builder import build_detector
from bevdiag.models.dense_heads.anchor_targets import count_matches
from bevdiag.models.interfaces import sparse_volume
from bevdiag.scenes import make_batch
from bevdiag.sparse import namespace

CLASSES = ("Car", "Cyclist")
RANGE = (0.0, -3.2, -2.0, 6.4, 3.2, 2.0)
FLAT = {"NAME": "HeightCompression", "NUM_BEV_FEATURES": 256}
POINT_NET = {"USE_NORM": True, "WITH_DISTANCE": True, "USE_ABSLOTE_XYZ": True}
SCATTER = {"NAME": "PointPillarScatter", "NUM_BEV_FEATURES": 16}


def anchors(name, size, stride):
    return {
        "class_name": name,
        "anchor_sizes": [size],
        "anchor_rotations": [0, 1.57],
        "anchor_bottom_heights": [-1.0],
        "feature_map_stride": stride,
        "matched_threshold": 0.5,
        "unmatched_threshold": 0.35,
    }


def anchor_head(stride, **changes):
    return {
        "NAME": "AnchorHeadSingle",
        "USE_DIRECTION_CLASSIFIER": True,
        "DIR_OFFSET": 0.78539,
        "NUM_DIR_BINS": 2,
        "ANCHOR_GENERATOR_CONFIG": [
            anchors("Car", [1.2, 0.6, 1.0], stride),
            anchors("Cyclist", [0.6, 0.3, 1.0], stride),
        ],
        "TARGET_ASSIGNER_CONFIG": {
            "NAME": "AxisAlignedTargetAssigner",
            "NORM_BY_NUM_EXAMPLES": False,
            "BOX_CODER": "ResidualCoder",
        },
        "LOSS_CONFIG": {"LOSS_WEIGHTS": {"dir_weight": 0.2, "code_weights": [1.0] * 7}},
        **changes,
    }


def center_head(stride, *, iou=False, velocity=False, heads=(CLASSES,)):
    names = ["center", "center_z", "dim", "rot", *(["vel"] if velocity else [])]
    widths = {"center": 2, "center_z": 1, "dim": 3, "rot": 2, "vel": 2, "iou": 1}
    branches = [*names, *(["iou"] if iou else [])]
    return {
        "NAME": "CenterHead",
        "CLASS_NAMES_EACH_HEAD": heads,
        "SHARED_CONV_CHANNEL": 8,
        "IOU_REG_LOSS": iou,
        "SEPARATE_HEAD_CFG": {
            "HEAD_ORDER": names,
            "HEAD_DICT": {name: {"out_channels": widths[name], "num_conv": 2} for name in branches},
        },
        "TARGET_ASSIGNER_CONFIG": {"FEATURE_MAP_STRIDE": stride, "NUM_MAX_OBJS": 30},
        "LOSS_CONFIG": {"LOSS_WEIGHTS": {"code_weights": [1.0] * (10 if velocity else 8)}},
    }


def backbone_2d(name="BaseBEVBackbone", *, strides=(1, 2), ups=(1, 2)):
    return {
        "NAME": name,
        "LAYER_NUMS": [1, 1],
        "LAYER_STRIDES": list(strides),
        "NUM_FILTERS": [8, 16],
        "UPSAMPLE_STRIDES": list(ups),
        "NUM_UPSAMPLE_FILTERS": [8, 8],
    }


def dsvt(sparse_shape, strides):
    stages = len(strides) + 1
    heights = [sparse_shape[2]]
    for _, _, stride in strides:
        heights.append(-(-heights[-1] // stride))
    sets = [[6, 1]] * stages
    return {
        "NAME": "DSVT",
        "INPUT_LAYER": {
            "sparse_shape": sparse_shape,
            "downsample_stride": strides,
            "d_model": [16] * stages,
            "set_info": sets,
            "window_shape": [[8, 8, height] for height in heights],
            "hybrid_factor": [1, 1, 1],
            "shifts_list": [[[0, 0, 0], [4, 4, 0]]] * stages,
        },
        "block_name": ["DSVTBlock"] * stages,
        "set_info": sets,
        "d_model": [16] * stages,
        "nhead": [4] * stages,
        "dim_feedforward": [32] * stages,
        "output_shape": sparse_shape[:2],
        "conv_out_channel": 16,
    }


def model(name, vfe, backbone_3d, map_to_bev, head, *, two_d=None):
    sections = {
        "NAME": name,
        "VFE": vfe,
        "MAP_TO_BEV": map_to_bev,
        "BACKBONE_2D": two_d or backbone_2d(),
        "DENSE_HEAD": head,
    }
    return sections if backbone_3d is None else {**sections, "BACKBONE_3D": backbone_3d}


def scatter_3d(height):
    return {
        "NAME": "PointPillarScatter3d",
        "INPUT_SHAPE": [32, 32, height],
        "NUM_BEV_FEATURES": 16 * height,
    }


VOXELS, PILLARS, COARSE = (128, 128, 40), (32, 32, 1), (32, 32, 8)
RESIDUAL_2D = backbone_2d("BaseBEVResBackbone", strides=(1, 2), ups=(1, 2))
MODELS = {
    "second": (
        VOXELS,
        model("SECONDNet", {"NAME": "MeanVFE"}, {"NAME": "VoxelBackBone8x"}, FLAT, anchor_head(8)),
    ),
    "centerpoint": (
        VOXELS,
        model(
            "CenterPoint",
            {"NAME": "DynMeanVFE"},
            {"NAME": "VoxelResBackBone8x"},
            FLAT,
            center_head(8, velocity=True, heads=(("Car",), ("Cyclist",))),
        ),
    ),
    "pointpillar": (
        PILLARS,
        model(
            "PointPillar",
            {"NAME": "PillarVFE", "NUM_FILTERS": [16, 16], **POINT_NET},
            None,
            SCATTER,
            anchor_head(2),
            two_d=backbone_2d(strides=(2, 2), ups=(1, 2)),
        ),
    ),
    "pointpillar, upsampling below 1": (
        PILLARS,
        model(
            "PointPillar",
            {"NAME": "PillarVFE", "NUM_FILTERS": [16], **POINT_NET},
            None,
            SCATTER,
            anchor_head(4),
            two_d=backbone_2d(strides=(2, 2), ups=(0.5, 1)),
        ),
    ),
    "dynamic pillars": (
        PILLARS,
        model(
            "CenterPoint",
            {"NAME": "DynPillarVFE", "NUM_FILTERS": [8, 16], **POINT_NET},
            None,
            SCATTER,
            center_head(1),
        ),
    ),
    "dsvt on voxels": (
        COARSE,
        model(
            "CenterPoint",
            {"NAME": "DynamicVoxelVFE", "NUM_FILTERS": [8, 16], **POINT_NET},
            dsvt([32, 32, 8], [[1, 1, 4], [1, 1, 2]]),
            scatter_3d(1),
            center_head(1, iou=True),
            two_d=RESIDUAL_2D,
        ),
    ),
    "dsvt on pillars": (
        PILLARS,
        model(
            "CenterPoint",
            {"NAME": "DynamicVoxelVFE", "NUM_FILTERS": [8, 16], **POINT_NET},
            {**dsvt([32, 32, 1], []), "USE_CHECKPOINT": True},
            scatter_3d(1),
            center_head(1, iou=True),
        ),
    ),
}


def data_settings(grid, *, is_dynamic):
    size = tuple((RANGE[axis + 3] - RANGE[axis]) / grid[axis] for axis in range(3))
    return DataSettings(
        point_cloud_range=RANGE,
        voxel_size=size,
        grid_size=grid,
        max_points_per_voxel=None if is_dynamic else 4,
        max_voxels=None if is_dynamic else 1000,
        point_features=("x", "y", "z", "intensity"),
    )


def scene(data, settings):
    """Two samples of random points, and boxes of the anchors' sizes."""
    rng = np.random.default_rng(0)
    low, high = np.array(RANGE[:3]), np.array(RANGE[3:])
    samples = [
        np.c_[rng.uniform(low, high, (200, 3)), rng.random(200)].astype(np.float32)
        for _ in range(2)
    ]
    velocity = "vel" in str(settings.dense_head)
    batch = make_batch(
        samples,
        point_cloud_range=RANGE,
        voxel_size=data.voxel_size,
        grid_size=data.grid_size,
        max_points=data.max_points_per_voxel,
        max_voxels=data.max_voxels,
        num_boxes=12,
        num_classes=2,
        seed=0,
        source="test",
        box_extras=2 if velocity else 0,
    )
    batch.gt_boxes[..., 3:6] = rng.uniform(0.4, 1.2, (2, 12, 3))
    batch.gt_boxes[1, -3:] = 0
    return batch


def tensors(batch, device):
    """What the loader makes of a scene; coordinates and grouped points always have values."""

    def load(array, *, real):
        return torch.from_numpy(array).float().to("cpu" if real else device)

    loaded = {
        "points": load(batch.points, real=batch.voxels is None),
        "gt_boxes": load(batch.gt_boxes, real=False),
        "gt_boxes_host": batch.gt_boxes,
        "batch_size": 2,
    }
    if batch.voxels is not None:
        loaded["voxels"] = load(batch.padded_voxels(), real=False)
        loaded["voxel_num_points"] = load(batch.voxel_num_points(), real=False)
        loaded["voxel_coords"] = load(batch.voxel_coords(), real=True)
    return loaded


def prepare(name):
    grid, sections = MODELS[name]
    settings = ModelSettings.model_validate(sections)
    data = data_settings(grid, is_dynamic=settings.vfe.name.startswith("Dyn"))
    return settings, data, scene(data, settings)


def build(settings, data, device):
    torch.manual_seed(0)
    spconv = namespace(device)
    return build_detector(settings, data, CLASSES, spconv=spconv, device=device)


def without_gradient(detector):
    return {name for name, parameter in detector.named_parameters() if parameter.grad is None}


@pytest.mark.parametrize("name", MODELS)
def test_a_run_without_values_has_the_shapes_of_one_with_values(small, name):
    settings, data, batch = prepare(name)
    real, real_batch = build(settings, data, "cpu"), tensors(batch, "cpu")
    loss = real(real_batch)
    loss.backward()
    assert torch.isfinite(loss)
    volume, sparse = sparse_volume(settings, data), real_batch.get("encoded_spconv_tensor")
    if volume is not None:
        assert list(volume.spatial_shape) == sparse.spatial_shape
        assert volume.channels == sparse.features.shape[1]

    meta, meta_batch = build(settings, data, "meta"), tensors(batch, "meta")
    with small.mixed_devices():
        meta(meta_batch).backward()

    compared = {"voxel_features", "pillar_features", "spatial_features", "spatial_features_2d"}
    for key in compared & set(real_batch):
        assert meta_batch[key].is_meta
        assert meta_batch[key].shape == real_batch[key].shape
    assert torch.equal(meta_batch["voxel_coords"], real_batch["voxel_coords"])
    assert without_gradient(meta) == without_gradient(real)


@pytest.mark.parametrize("name", ["second", "pointpillar"])
def test_anchors_that_match_are_counted_as_the_device_would(name, monkeypatch):
    settings, data, batch = prepare(name)
    detector = build(settings, data, "cpu")
    assigner = detector.dense_head.assigner
    for index in range(2):
        # A box that lies on an anchor, so that some match without being forced to.
        batch.gt_boxes[:, index] = [*assigner._host_anchors[index][101], index + 1]
    found = []

    def spied(values, size):
        assert size is None
        rows = values.nonzero()
        found.append(len(rows))
        return rows

    monkeypatch.setattr("bevdiag.models.dense_heads.anchor_targets.nonzero", spied)
    detector(tensors(batch, "cpu"))

    counted = []
    for boxes in batch.gt_boxes:
        used = boxes[boxes[:, -1] > 0]
        for index, entry in enumerate(settings.dense_head.anchor_generator_config):
            own = used[used[:, -1] == index + 1]
            counts = count_matches(assigner._host_anchors[index], own[:, :-1], entry)
            assert counts.matched > 0
            matched = [counts.matched] * 3
            counted += [counts.forced, *matched, counts.background, counts.foreground]
    assert found == counted


def test_targets_of_a_class_without_boxes_are_background():
    settings, data, batch = prepare("second")
    batch.gt_boxes[..., -1] = np.minimum(batch.gt_boxes[..., -1], 1)
    detector = build(settings, data, "cpu")
    detector(tensors(batch, "cpu"))

    labels = detector.dense_head.kept["labels"].view(2, 16, 16, 2, 2)
    assert (labels[..., 0, :] == 1).any()
    assert not labels[..., 1, :].any()


@pytest.mark.parametrize(
    ("grid", "changes", "message"),
    [
        (COARSE, {"MAP_TO_BEV": SCATTER}, "PointPillarScatter takes pillars"),
        (PILLARS, {"MAP_TO_BEV": FLAT}, "HeightCompression flattens a sparse tensor"),
        (PILLARS, {"BACKBONE_3D": dsvt([32, 32, 1], [])}, "DSVT reads 16 channels"),
    ],
)
def test_modules_that_do_not_fit_together_are_refused(grid, changes, message):
    _, sections = MODELS["dynamic pillars"]
    vfe = {**sections["VFE"], "NUM_FILTERS": [8, 24]}
    settings = ModelSettings.model_validate({**sections, "VFE": vfe, **changes})
    with pytest.raises(ConfigError, match=message):
        build(settings, data_settings(grid, is_dynamic=True), "meta")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DENSE_HEAD": anchor_head(4)}, "feature_map_stride 4 are for a map of 8 x 8"),
        ({"BACKBONE_2D": backbone_2d(strides=(1, 2), ups=(1, 1))}, "cannot be concatenated"),
    ],
)
def test_maps_that_do_not_meet_are_refused(changes, message):
    grid, sections = MODELS["pointpillar"]
    settings = ModelSettings.model_validate({**sections, **changes})
    data = data_settings(grid, is_dynamic=False)
    with pytest.raises(ConfigError, match=message):
        build(settings, data, "cpu")(tensors(scene(data, settings), "cpu"))
