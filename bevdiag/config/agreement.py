"""Where two parts of a config speak of the same thing, and whether all of it can be traced."""

from collections import Counter
from collections.abc import Iterator

from bevdiag.config import tree
from bevdiag.config.backbone_settings import Backbone3dSettings, DsvtSettings, FocalDsvtSettings
from bevdiag.config.bev_settings import VolumeMapSettings
from bevdiag.config.data import PADDED
from bevdiag.config.document import NoteCode, ReadingNote
from bevdiag.config.head_settings import AnchorHeadSettings, CenterHeadSettings, DenseHeadSettings
from bevdiag.config.model_settings import DataSettings, ModelSettings
from bevdiag.config.tree import Section
from bevdiag.config.vfe_settings import DYNAMIC_VFES, MeanVfeSettings, SdaVfeSettings
from bevdiag.errors import ConfigError

_HEADS = ("MODEL", "DENSE_HEAD", "CLASS_NAMES_EACH_HEAD")
_BACKBONE = ("MODEL", "BACKBONE_3D")

_Copy = tuple[tree.Path, tuple[float, ...], tuple[float, ...], str]


def with_class_names(
    model: ModelSettings, class_names: tuple[str, ...], root: Section
) -> ModelSettings:
    """Return the model with heads for `class_names` alone, as CenterHead drops the others.

    AnchorHeadSingle's anchors are for the classes that they name, whatever CLASS_NAMES says.

    Raises:
        ConfigError: where a class has no head or more than one, or a head no class.
    """
    head = model.dense_head
    if not isinstance(head, CenterHeadSettings):
        return model
    written = head.class_names_each_head
    heads = tuple(tuple(name for name in head if name in class_names) for head in written)
    times = Counter(name for head in heads for name in head)
    problem = ""
    for name in class_names:
        if times[name] != 1:
            problem = f"expected every class of CLASS_NAMES once, found {times[name]} of {name!r}"
    if not all(heads):
        problem = f"head {heads.index(()) + 1} has no class of CLASS_NAMES"
    if problem:
        raise tree.error_at(root, _HEADS, problem)
    kept = head.model_copy(update={"class_names_each_head": heads})
    return model.model_copy(update={"dense_head": kept})


def check_voxelizer(data: DataSettings, model: ModelSettings, root: Section) -> None:
    """Check that the VFE gets the voxels it reads.

    Raises:
        ConfigError: where a VFE that reads padded voxels is fed by a dynamic voxelizer.
    """
    if data.max_points_per_voxel is None and model.vfe.name not in DYNAMIC_VFES:
        message = f"{model.vfe.name} reads padded voxels: expected {PADDED} in DATA_PROCESSOR"
        raise tree.error_at(root, ("MODEL", "VFE", "NAME"), message)


def copies_that_differ(
    data: DataSettings, model: ModelSettings, root: Section
) -> Iterator[ReadingNote]:
    """Yield notes on the model's copies of the grid's figures that differ from DATA_CONFIG's."""
    for path, copy, original, named in _copies(data, model):
        if copy != original:
            message = f"{list(copy)} differs from DATA_CONFIG's {named} {list(original)}"
            where = tree.key_location(root, path)
            yield ReadingNote(NoteCode.COPIES_DIFFER, message, tree.dotted(path), where)


def _copies(data: DataSettings, model: ModelSettings) -> Iterator[_Copy]:
    """Each copy's path, its value, DATA_CONFIG's value and what that is called."""
    size, bounds = (data.voxel_size, "voxel size"), (data.point_cloud_range, "point cloud range")
    vfe, backbone = model.vfe, model.backbone_3d
    encoder = (*_BACKBONE, "FOCAL_ENCODER")
    focal = backbone.focal_encoder if isinstance(backbone, FocalDsvtSettings) else None
    if isinstance(vfe, SdaVfeSettings):
        yield ("MODEL", "VFE", "VOXEL_SIZE"), vfe.voxel_size, *size
    if focal is not None:
        yield (*encoder, "VOXEL_SIZE"), focal.voxel_size, *size
    if isinstance(vfe, SdaVfeSettings):
        yield ("MODEL", "VFE", "POINT_CLOUD_RANGE"), vfe.point_cloud_range, *bounds
    if focal is not None:
        yield (*encoder, "POINT_CLOUD_RANGE"), focal.point_cloud_range, *bounds


MAX_LAYERS = 2000
"""Twice the deepest network that is known to have been trained (ResNet-1001)."""

_MODEL = ("MODEL",)


def check_depth(model: ModelSettings, root: Section) -> None:
    """Check that the layers which a config counts are few enough to be traced.

    Raises:
        ConfigError: they are not; names the section that asks for most of them.
    """
    volume = model.map_to_bev
    layers = {
        # The encoders that only take a mean have no layer.
        "VFE": 0 if isinstance(model.vfe, MeanVfeSettings) else len(model.vfe.num_filters),
        "BACKBONE_3D": _blocks(model.backbone_3d),
        "MAP_TO_BEV": len(volume.height_strides) if isinstance(volume, VolumeMapSettings) else 0,
        "BACKBONE_2D": sum(model.backbone_2d.layer_nums) + 2 * len(model.backbone_2d.layer_nums),
        "DENSE_HEAD": _head_layers(model.dense_head),
    }
    if sum(layers.values()) > MAX_LAYERS:
        slot = max(layers, key=lambda name: layers[name])
        message = f"has {layers[slot]} layers: expected at most {MAX_LAYERS} in the whole model"
        path = (*_MODEL, slot)
        raise ConfigError(message, location=tree.key_location(root, path), key=tree.dotted(path))


def _blocks(backbone: Backbone3dSettings | None) -> int:
    dsvt = backbone.dsvt if isinstance(backbone, FocalDsvtSettings) else backbone
    return sum(blocks for _, blocks in dsvt.set_info) if isinstance(dsvt, DsvtSettings) else 0


def _head_layers(head: DenseHeadSettings) -> int:
    if isinstance(head, AnchorHeadSettings):
        return len(head.anchor_generator_config)
    branches = head.separate_head_cfg.head_dict.values()
    a_group = head.num_hm_conv + sum(branch.num_conv for branch in branches)
    return len(head.class_names_each_head) * a_group
