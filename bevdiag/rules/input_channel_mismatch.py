"""A module reads other channels than the one before it makes.

What it means:
    DSVT adds its position embedding to features of d_model[0] channels, and the learned projection
    of the height reads INPUT_FEATURES channels. With others the first batch stops at two tensors
    that do not fit.

What is printed:
    The size of tensor a (<#>) must match the size of tensor b (<#>) at non-singleton dimension #
    (in backbone_3d)

    expected input... to have <#> channels, but got <#> channels instead (in map_to_bev_module)

    mat1 and mat2 shapes cannot be multiplied (in backbone_3d)

    mat1 and mat2 shapes cannot be multiplied (#x<#> and <#>x#) (in backbone_3d)

    size mismatch, m1: [# x <#>], m2: [<#> x #] (in backbone_3d)

    channel size mismatch (in backbone_3d)

    inp.dim(1) == filters.dim(-1) assert fail (in backbone_3d)

    mat1 dim 1 must match mat2 dim 0 (in backbone_3d)

Why it happens:
    OpenPCDet passes the channels from module to module, but these modules take them from their own
    keys and do not compare.

How to fix:
    Let the first module make what the second reads, or the second read what is made.

Seen in:
    open-mmlab/mmdetection3d#553 (https://github.com/open-mmlab/mmdetection3d/issues/553): an
    encoder whose declared input channels are not those of its voxels.
"""

from collections.abc import Iterator

from bevdiag.config.bev_settings import SparseHeightCompressionSettings
from bevdiag.config.dsvt_settings import DsvtSettings
from bevdiag.config.settings import FocalDsvtSettings
from bevdiag.models.interfaces import sparse_volume, voxel_channels
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_BACKBONE = "MODEL.BACKBONE_3D"
_MADE = f"{_BACKBONE}.FOCAL_ENCODER.OUT_CHANNELS"
_INPUT_FEATURES = "MODEL.MAP_TO_BEV.INPUT_FEATURES"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for each map_input that does not fit."""
    yield from _into_dsvt(evidence)
    yield from _into_projection(evidence)


def _into_dsvt(evidence: ConfigEvidence) -> Iterator[Finding]:
    made, document = evidence.parts.up_to_map(), evidence.document
    if made is None:
        return
    backbone, key = made.model.backbone_3d, f"{_BACKBONE}.d_model"
    maker: str
    if isinstance(backbone, FocalDsvtSettings):
        maker, channels = backbone.focal_encoder.name, backbone.focal_encoder.out_channels
        dsvt = backbone.dsvt
        key = f"{_BACKBONE}.DSVT.d_model" if document.get(_MADE) is None else _MADE
    elif isinstance(backbone, DsvtSettings):
        maker, channels = made.model.vfe.name, voxel_channels(made.model, made.data)
        dsvt = backbone
    else:
        return
    if channels != dsvt.d_model[0]:
        yield finding(
            "BEV202",
            f"{maker} makes {channels} channels, but DSVT's first stage reads {dsvt.d_model[0]}",
            document=document,
            key=key,
            module="backbone_3d",
        )


def _into_projection(evidence: ConfigEvidence) -> Iterator[Finding]:
    made = evidence.parts.up_to_map()
    mapping = evidence.parts.map_to_bev
    if made is None or not isinstance(mapping, SparseHeightCompressionSettings):
        return
    volume = sparse_volume(made.model, made.data)
    if volume is None or mapping.mode != "learned" or mapping.height_strides:
        return
    height = volume.spatial_shape[0]
    if mapping.input_features != volume.channels * height:
        yield finding(
            "BEV202",
            f"the learned projection reads {mapping.input_features} channels, but "
            f"{volume.channels} channels x {height} height levels = {volume.channels * height} "
            "arrive",
            document=evidence.document,
            key=_INPUT_FEATURES,
            module="map_to_bev_module",
        )
