"""The sections of a config, each read for itself: what is known of a config with a fault."""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from bevdiag.config import tree
from bevdiag.config.backbone_settings import Backbone3dSettings
from bevdiag.config.bev_settings import Backbone2dSettings, MapToBevSettings
from bevdiag.config.data import read_data
from bevdiag.config.document import Document
from bevdiag.config.head_settings import DenseHeadSettings
from bevdiag.config.model_settings import DataSettings, ModelSettings
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
    return Parts(
        data=data,
        vfe=_part(document, "vfe"),
        backbone_3d=_part(document, "backbone_3d"),
        map_to_bev=_part(document, "map_to_bev"),
        backbone_2d=_part(document, "backbone_2d"),
        dense_head=_part(document, "dense_head"),
        has_backbone_3d=isinstance(backbone, Section),
    )


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
