"""How many layers a model asks for: each is built, run and recorded one by one."""

from bevdiag.config import tree
from bevdiag.config.backbone_settings import Backbone3dSettings, FocalDsvtSettings
from bevdiag.config.bev_settings import VolumeMapSettings
from bevdiag.config.dsvt_settings import DsvtSettings
from bevdiag.config.head_settings import AnchorHeadSettings, DenseHeadSettings
from bevdiag.config.settings import ModelSettings
from bevdiag.config.tree import Section
from bevdiag.config.vfe_settings import DynamicMeanVfeSettings, MeanVfeSettings, VfeSettings
from bevdiag.errors import ConfigError

MAX_LAYERS = 2000
"""Twice the deepest network that is known to have been trained (ResNet-1001)."""

_MODEL = ("MODEL",)
_Mean = MeanVfeSettings | DynamicMeanVfeSettings


def check_depth(model: ModelSettings, root: Section) -> None:
    """Check that the layers which a config counts are few enough to be traced.

    Raises:
        ConfigError: they are not; names the section that asks for most of them.
    """
    volume = model.map_to_bev
    layers = {
        "VFE": _filters(model.vfe),
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


def _filters(vfe: VfeSettings) -> int:
    # The encoders that only take a mean have no layer.
    return 0 if isinstance(vfe, _Mean) else len(vfe.num_filters)


def _blocks(backbone: Backbone3dSettings | None) -> int:
    dsvt = backbone.dsvt if isinstance(backbone, FocalDsvtSettings) else backbone
    return sum(blocks for _, blocks in dsvt.set_info) if isinstance(dsvt, DsvtSettings) else 0


def _head_layers(head: DenseHeadSettings) -> int:
    if isinstance(head, AnchorHeadSettings):
        return len(head.anchor_generator_config)
    branches = head.separate_head_cfg.head_dict.values()
    a_group = head.num_hm_conv + sum(branch.num_conv for branch in branches)
    return len(head.class_names_each_head) * a_group
