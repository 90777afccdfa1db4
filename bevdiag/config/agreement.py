"""Where two parts of a config speak of the same thing."""

from collections import Counter
from collections.abc import Iterator

from bevdiag.config import tree
from bevdiag.config.data import PADDED
from bevdiag.config.notes import NoteCode, ReadingNote
from bevdiag.config.settings import DataSettings, ModelSettings
from bevdiag.config.tree import Section
from bevdiag.errors import ConfigError

_HEADS = ("MODEL", "DENSE_HEAD", "CLASS_NAMES_EACH_HEAD")
_BACKBONE = ("MODEL", "BACKBONE_3D")


def with_class_names(
    model: ModelSettings, class_names: tuple[str, ...], root: Section
) -> ModelSettings:
    """The model with heads for `class_names` alone, as CenterHead drops the others.

    Raises:
        ConfigError: where a class has no head or more than one, or a head no class.
    """
    written = model.dense_head.class_names_each_head
    heads = tuple(tuple(name for name in head if name in class_names) for head in written)
    times = Counter(name for head in heads for name in head)
    problem = ""
    for name in class_names:
        if times[name] != 1:
            problem = f"expected every class of CLASS_NAMES once, found {times[name]} of {name!r}"
    if not all(heads):
        problem = f"head {heads.index(()) + 1} has no class of CLASS_NAMES"
    if problem:
        where = tree.descend(root, _HEADS)[0].location
        raise ConfigError(problem, location=where, key=tree.dotted(_HEADS))
    head = model.dense_head.model_copy(update={"class_names_each_head": heads})
    return model.model_copy(update={"dense_head": head})


def check_voxelizer(data: DataSettings, model: ModelSettings, root: Section) -> None:
    """Checks that the VFE gets the voxels it reads.

    Raises:
        ConfigError: where SDAVFE, which reads padded voxels, is fed by a dynamic voxelizer.
    """
    if data.max_points_per_voxel is None:
        path = ("MODEL", "VFE", "NAME")
        message = f"{model.vfe.name} reads padded voxels: expected {PADDED} in DATA_PROCESSOR"
        where = tree.descend(root, path)[0].location
        raise ConfigError(message, location=where, key=tree.dotted(path))


def copies_that_differ(
    data: DataSettings, model: ModelSettings, root: Section
) -> Iterator[ReadingNote]:
    """Notes on the model's own copies of the grid's figures that differ from DATA_CONFIG's."""
    encoder = (*_BACKBONE, "FOCAL_ENCODER")
    focal = model.backbone_3d.focal_encoder
    layer = model.backbone_3d.dsvt.input_layer
    shape = (*_BACKBONE, "DSVT", "INPUT_LAYER", "sparse_shape")
    for path, copy, original, named in (
        (("MODEL", "VFE", "VOXEL_SIZE"), model.vfe.voxel_size, data.voxel_size, "voxel size"),
        ((*encoder, "VOXEL_SIZE"), focal.voxel_size, data.voxel_size, "voxel size"),
        (
            ("MODEL", "VFE", "POINT_CLOUD_RANGE"),
            model.vfe.point_cloud_range,
            data.point_cloud_range,
            "point cloud range",
        ),
        (
            (*encoder, "POINT_CLOUD_RANGE"),
            focal.point_cloud_range,
            data.point_cloud_range,
            "point cloud range",
        ),
        (shape, layer.sparse_shape, data.grid_size, "grid"),
    ):
        if copy != original:
            message = f"{list(copy)} differs from DATA_CONFIG's {named} {list(original)}"
            where = tree.descend(root, path)[0].location
            yield ReadingNote(NoteCode.COPIES_DIFFER, message, tree.dotted(path), where)
