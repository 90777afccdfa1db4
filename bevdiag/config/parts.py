"""What is known of a config with a fault: its sections, each read for itself, and its values.

A value is of the kind that is asked for or there is none; nothing here raises.
"""

from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from bevdiag.config import tree
from bevdiag.config.backbone_settings import Backbone3dSettings, VfeSettings
from bevdiag.config.bev_settings import Backbone2dSettings, MapToBevSettings
from bevdiag.config.data import read_data, voxelizer_path
from bevdiag.config.document import Document
from bevdiag.config.head_settings import DenseHeadSettings
from bevdiag.config.model_settings import DataSettings, ModelSettings
from bevdiag.config.tree import Section, dotted
from bevdiag.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Each section's settings; None where it is missing, makes no sense, or is not modelled."""

    data: DataSettings | None
    vfe: VfeSettings | None
    backbone_3d: Backbone3dSettings | None
    map_to_bev: MapToBevSettings | None
    backbone_2d: Backbone2dSettings | None
    dense_head: DenseHeadSettings | None
    has_backbone_3d: bool

    def up_to_map(self) -> "UpToMap | None":
        """Return the modules that make the BEV map, or None where one of them is not known."""
        reported = self.backbone_3d is not None or not self.has_backbone_3d
        if self.data is None or self.vfe is None or self.map_to_bev is None or not reported:
            return None
        model = ModelSettings.model_construct(
            vfe=self.vfe, backbone_3d=self.backbone_3d, map_to_bev=self.map_to_bev
        )
        return UpToMap(model, self.data)


class UpToMap(NamedTuple):
    """A config as far as the BEV map: the model has no 2D backbone and no head."""

    model: ModelSettings
    data: DataSettings


def read_parts(document: Document) -> Parts:
    """Read the sections of a merged config; never raise."""
    try:
        data = read_data(document.root)
    except ConfigError:
        data = None
    backbone = tree.find(document.root, ("MODEL", "BACKBONE_3D"))
    slots = ("vfe", "backbone_3d", "map_to_bev", "backbone_2d", "dense_head")
    modules = {slot: _part(document, slot) for slot in slots}
    return Parts(data=data, has_backbone_3d=isinstance(backbone, Section), **modules)


def _part(document: Document, slot: str) -> Any:
    node = tree.find(document.root, ("MODEL", slot.upper()))
    if not isinstance(node, Section):
        return None
    try:
        return _modules(slot).validate_python(tree.plain(node), by_alias=True, by_name=False)
    except ValidationError:
        return None


@cache
def _modules(slot: str) -> TypeAdapter[Any]:
    """Return the settings of all modules that can stand in a slot."""
    return TypeAdapter(ModelSettings.__annotations__[slot])


Triple = tuple[int, int, int]


def text(document: Document, key: str) -> str | None:
    """Return the text at `key`."""
    value = document.get(key)
    return value if isinstance(value, str) else None


def whole(document: Document, key: str) -> int | None:
    """Return the whole number at `key`."""
    value = document.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def listed(document: Document, key: str) -> tuple[Any, ...]:
    """Return the list at `key`, an empty one where there is none."""
    value = document.get(key)
    return value if isinstance(value, tuple) else ()


def triple(document: Document, key: str) -> Triple | None:
    """Return the list of three positive whole numbers at `key`."""
    return as_triple(document.get(key))


def as_triple(value: object) -> Triple | None:
    """`value` itself if it is three positive whole numbers."""
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    if not all(type(item) is int and item > 0 for item in value):
        return None
    x, y, z = value
    return x, y, z


def lengths(document: Document, key: str, count: int) -> tuple[float, ...] | None:
    """Return the list of `count` numbers at `key`, none of them infinite or not a number."""
    value = document.get(key)
    if not isinstance(value, tuple) or len(value) != count:
        return None
    return value if all(type(item) in (int, float) and abs(item) < inf for item in value) else None


def voxel_size_key(document: Document) -> str | None:
    """Return the key of the voxelizer's VOXEL_SIZE, where there is a voxelizer."""
    try:
        path, _ = voxelizer_path(document.root)
    except ConfigError:
        return None
    return dotted((*path, "VOXEL_SIZE"))


def dsvt_key(document: Document) -> str | None:
    """Return the key of DSVT's section: the 3D backbone, or a part of it."""
    backbone = "MODEL.BACKBONE_3D"
    if text(document, f"{backbone}.NAME") == "DSVT":
        return backbone
    part = f"{backbone}.DSVT"
    return part if isinstance(document.get(part), dict) else None


def checkpoint_keys(document: Document) -> tuple[str, str] | None:
    """Return the name of DSVT's checkpointing key that its code reads, and the one that it ignores.

    FocalDSVT's repository has DSVT's own code, which reads a misspelt name; OpenPCDet's copy reads
    the right one. None without DSVT.
    """
    section, right, misspelt = dsvt_key(document), "USE_CHECKPOINT", "ues_checkpoint"
    if section is None:
        return None
    return (right, misspelt) if section == "MODEL.BACKBONE_3D" else (misspelt, right)
