"""From a config file to settings that the rest of bevdiag can trust.

Each section is checked by its own settings; here, that those which speak of the same thing agree.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from bevdiag.config import tree
from bevdiag.config.backbone_settings import (
    DYNAMIC_VFES,
    Backbone3dSettings,
    DsvtSettings,
    FocalDsvtSettings,
    FocalEncoderSettings,
    MeanVfeSettings,
    SdaVfeSettings,
)
from bevdiag.config.bases import BASE_KEY, read_merged, read_value
from bevdiag.config.bev_settings import VolumeMapSettings
from bevdiag.config.checking import Settings, checked
from bevdiag.config.data import PADDED, read_data, voxelizer_path
from bevdiag.config.document import Document, NoteCode, ReadingNote
from bevdiag.config.head_settings import AnchorHeadSettings, CenterHeadSettings, DenseHeadSettings
from bevdiag.config.model_settings import DataSettings, ModelSettings, OptimizationSettings
from bevdiag.config.modules import check_modules, is_batch_size, unknown_keys
from bevdiag.config.nearest import did_you_mean, slip_of
from bevdiag.config.tree import Listing, Node, Section, describe
from bevdiag.errors import ConfigError, Location

_MODEL = ("MODEL",)
_OPTIMIZATION = ("OPTIMIZATION",)


class ClassNames(Settings):
    """The classes that a head distinguishes."""

    class_names: tuple[str, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """One checked config: its settings, and the document that they were read from.

    `notes` are things that are legal but suspicious.
    """

    path: Path
    class_names: tuple[str, ...]
    data: DataSettings
    model: ModelSettings
    optimization: OptimizationSettings
    document: Document
    notes: tuple[ReadingNote, ...]

    def edited(self, changes: Mapping[tuple[str, ...], object]) -> "DetectorConfig":
        """Return the config with values replaced, checked again from the start.

        Args:
            changes: new value by path, as in ``{("OPTIMIZATION", "USE_AMP"): True}``; None removes
                the key. A list's entry is named by index or by its NAME. Sections that are missing
                on the way are made.

        Raises:
            ConfigError: where the edited config makes no sense.
            NoVerdictError: where it asks for something that bevdiag does not model.
        """
        return from_document(self.path, self.document.edited(changes))


def read_document(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Read and merge a config without checking what it says.

    Raises:
        ConfigError: where the text or an override cannot be read.
    """
    merged = read_merged(path)
    return replace(merged, root=overridden(merged.root, overrides))


def load_config(path: Path, overrides: Sequence[str] = ()) -> DetectorConfig:
    """Read, merge and check a config in OpenPCDet's dialect.

    Args:
        path: the YAML file.
        overrides: ``KEY=value`` texts, applied in order after the bases are merged.

    Raises:
        ConfigError: where the text, an override or a value makes no sense.
        NoVerdictError: where the config asks for something that bevdiag does not model.
    """
    return from_document(path, read_document(path, overrides))


def from_document(path: Path, document: Document) -> DetectorConfig:
    """Check the settings of a document that was read from `path`.

    Raises:
        ConfigError: where a value makes no sense.
        NoVerdictError: where the config asks for something that bevdiag does not model.
    """
    root = document.root
    check_modules(root)
    class_names = checked(ClassNames, root, ()).class_names
    if twice := [name for name, times in Counter(class_names).items() if times > 1]:
        raise tree.error_at(
            root, ("CLASS_NAMES",), f"expected every class once, found {twice[0]!r} more often"
        )
    written_model = checked(ModelSettings, root, _MODEL)
    check_depth(written_model, root)
    model = with_class_names(written_model, class_names, root)
    optimization = checked(OptimizationSettings, root, _OPTIMIZATION)
    data = read_data(root)
    check_voxelizer(data, model, root)
    return DetectorConfig(
        path=path,
        class_names=class_names,
        data=data,
        model=model,
        optimization=optimization,
        document=document,
        notes=(
            *document.notes,
            *unread_keys(root),
            *unknown_keys(model, root, _MODEL),
            *unknown_keys(optimization, root, _OPTIMIZATION),
            *copies_that_differ(data, model, root),
        ),
    )


OPTION = Path("--set")


def overridden(root: Section, overrides: Sequence[str]) -> Section:
    """Return the tree with every ``KEY=value`` applied, in order.

    A value's location is named ``--set``, with the number of the option as its line.

    Raises:
        ConfigError: for a text without ``=``, an unknown path, or a value that is no YAML. A new
            key is allowed in a section that exists, a new entry of a list is not.
    """
    for number, text in enumerate(overrides, start=1):
        key, equals, value = text.partition("=")
        start = Location(OPTION, number, 1)
        path = tuple(key.strip().split("."))
        if not equals or not all(path):
            message = f"expected KEY=value such as MODEL.VFE.USE_NORM=false, found {text!r}"
            raise ConfigError(message, location=start)
        _check_path(root, path, start)
        node = read_value(value, Location(OPTION, number, len(key) + 2))
        root = tree.with_node(root, path, node)
    return root


def _check_path(root: Section, path: tree.Path, start: Location) -> None:
    deepest, rest = tree.descend(root, path)
    if not rest:
        return
    if path[-1] == BASE_KEY:
        message = "bases are merged before --set is applied: name another config file instead"
        raise ConfigError(message, location=start, key=tree.dotted(path))
    if len(rest) == 1 and isinstance(deepest, Section):
        return
    found = tree.dotted(path[: len(path) - len(rest)])
    message = _no_such_key(rest[0], found, deepest)
    raise ConfigError(message, location=start, key=tree.dotted(path))


def _no_such_key(key: str, found: str, deepest: Node) -> str:
    where = found or "the config"
    if isinstance(deepest, Section):
        return f"{where} has no key {key!r}{did_you_mean(key, deepest.entries)}"
    if isinstance(deepest, Listing):
        return f"{where} is {describe(deepest)}, and {key!r} is neither an index nor a NAME in it"
    return f"{where} is {describe(deepest)} and has no keys"


_HEADS = ("MODEL", "DENSE_HEAD", "CLASS_NAMES_EACH_HEAD")


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
    copies: list[tuple[tree.Path, SdaVfeSettings | FocalEncoderSettings]] = []
    if isinstance(model.vfe, SdaVfeSettings):
        copies.append((("MODEL", "VFE"), model.vfe))
    if isinstance(model.backbone_3d, FocalDsvtSettings):
        copies.append((("MODEL", "BACKBONE_3D", "FOCAL_ENCODER"), model.backbone_3d.focal_encoder))
    for key in ("VOXEL_SIZE", "POINT_CLOUD_RANGE"):
        original, named = getattr(data, key.lower()), key.lower().replace("_", " ")
        for section, settings in copies:
            copy, path = getattr(settings, key.lower()), (*section, key)
            if copy != original:
                message = f"{list(copy)} differs from DATA_CONFIG's {named} {list(original)}"
                where = tree.key_location(root, path)
                yield ReadingNote(NoteCode.COPIES_DIFFER, message, tree.dotted(path), where)


_READ: Mapping[tree.Path, tuple[str, ...]] = {
    (): ("CLASS_NAMES", "DATA_CONFIG", "MODEL", "OPTIMIZATION"),
    ("DATA_CONFIG",): (
        "DATASET", "POINT_CLOUD_RANGE", "POINT_FEATURE_ENCODING", "DATA_PROCESSOR",
        "DATA_AUGMENTOR", "MAX_SWEEPS", "SEQUENCE_CONFIG",
    ),
}  # fmt: skip
_VOXELIZER = ("NAME", "VOXEL_SIZE", "MAX_POINTS_PER_VOXEL", "MAX_NUMBER_OF_VOXELS")
"""What decides memory in sections that hold much else, for loaders, loggers and forks."""


def unread_keys(root: Section) -> Iterator[ReadingNote]:
    """Yield notes on keys of those sections that are slips of the pen, or change nothing here.

    What a file says beside them may be meant for others; an override is meant for this prediction.
    """
    for path, read in (*_READ.items(), (voxelizer_path(root)[0], _VOXELIZER)):
        section = tree.find(root, path)
        written = section.entries if isinstance(section, Section) else {}
        for key, node in written.items():
            if key in read or is_batch_size(key):
                continue
            here, meant = (*path, key), slip_of(key, read)
            if meant and meant not in written and not key.startswith(meant):
                message = f"nothing reads {key}; did you mean {meant!r}?"
            elif node.location.file == OPTION:
                message = f"no figure here depends on {key}"
            else:
                continue
            where = tree.key_location(root, here)
            yield ReadingNote(NoteCode.UNKNOWN_KEY, message, tree.dotted(here), where)


MAX_LAYERS = 2000
"""Twice the deepest network that is known to have been trained (ResNet-1001)."""


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
