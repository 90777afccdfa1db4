"""The sections of a config, each read for itself: what can be told of a config with a fault."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bevdiag.config import tree
from bevdiag.config.backbone_settings import Backbone3dSettings
from bevdiag.config.bev_settings import Backbone2dSettings, MapToBevSettings
from bevdiag.config.data import read_data
from bevdiag.config.document import Document
from bevdiag.config.head_settings import DenseHeadSettings
from bevdiag.config.settings import DataSettings, ModelSettings
from bevdiag.config.tree import Section
from bevdiag.config.vfe_settings import VfeSettings
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


def read_parts(document: Document) -> Parts:
    """The sections of a merged config; never raises."""
    try:
        data = read_data(document.root)
    except ConfigError:
        data = None
    return Parts(
        data=data,
        vfe=_part(document, "vfe"),
        backbone_3d=_part(document, "backbone_3d"),
        map_to_bev=_part(document, "map_to_bev"),
        backbone_2d=_part(document, "backbone_2d"),
        dense_head=_part(document, "dense_head"),
    )


def _part(document: Document, slot: str) -> Any:
    node = tree.find(document.root, ("MODEL", slot.upper()))
    if not isinstance(node, Section):
        return None
    modules: TypeAdapter[Any] = TypeAdapter(ModelSettings.__annotations__[slot])
    try:
        return modules.validate_python(tree.plain(node), by_alias=True, by_name=False)
    except ValidationError:
        return None
