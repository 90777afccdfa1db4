import numpy as np
import torch

from bevdiag.config.model_settings import DataSettings, ModelSettings
from bevdiag.models.builder import build_detector
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
