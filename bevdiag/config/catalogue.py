"""The module names of OpenPCDet and its nearest forks, and which of them bevdiag builds.

Telling a module that bevdiag does not model from a typo decides between "no verdict" and an error.
Sources: the registries of OpenPCDet (8cacccec), DSVT (8cfc2a6f) and Focal-SST-Sonar (165df15).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from bevdiag.config.settings import ModelSettings

DETECTOR = "NAME"
"""The slot of the detector itself; every other slot is a section of MODEL."""

DATA_STEPS: Mapping[str, tuple[str, frozenset[str]]] = {
    key: (what, frozenset(names.split()))
    for key, what, names in (
        (
            "DATASET",
            "data set",
            """DatasetTemplate KittiDataset NuScenesDataset WaymoDataset PandasetDataset LyftDataset
            ONCEDataset CustomDataset Argo2Dataset""",
        ),
        (
            "POINT_FEATURE_ENCODING.encoding_type",
            "encoding of points",
            "absolute_coordinates_encoding",
        ),
        (
            "DATA_PROCESSOR.*.NAME",
            "data processor",
            """mask_points_and_boxes_outside_range shuffle_points sample_points calculate_grid_size
            transform_points_to_voxels transform_points_to_voxels_placeholder double_flip
            downsample_depth_map image_normalize image_calibrate""",
        ),
        (
            "DATA_AUGMENTOR.AUG_CONFIG_LIST.*.NAME",
            "augmentation",
            """gt_sampling random_world_flip random_world_rotation random_world_scaling
            random_world_translation random_local_translation random_local_rotation
            random_local_scaling random_world_frustum_dropout random_local_frustum_dropout
            random_local_pyramid_aug random_image_flip imgaug""",
        ),
    )
}
"""Keys of DATA_CONFIG whose values OpenPCDet looks up by name: what they name, and what it has."""

PUBLISHED: Mapping[str, frozenset[str]] = {
    slot: frozenset(names.split())
    for slot, names in {
        DETECTOR: """SECONDNet PartA2Net PVRCNN PointPillar PointRCNN SECONDNetIoU CaDDN VoxelRCNN
            CenterPoint PillarNet PVRCNNPlusPlus MPPNet MPPNetE2E VoxelNeXt TransFusion BevFusion
            CT3D CT3D_3CAT""",
        "VFE": """MeanVFE PillarVFE ImageVFE DynMeanVFE DynPillarVFE DynamicPillarVFESimple2D
            DynamicVoxelVFE PillarVFE3D DynPillarVFE3D SDAVFE SimpleVFE""",
        "BACKBONE_3D": """VoxelBackBone8x UNetV2 PointNet2Backbone PointNet2MSG VoxelResBackBone8x
            VoxelBackBone8xFocal VoxelResBackBone8xVoxelNeXt VoxelResBackBone8xVoxelNeXt2D
            PillarBackBone8x PillarRes18BackBone8x DSVT DSVT_TrtEngine FocalSparseEncoder
            FocalDSVT""",
        "MAP_TO_BEV": """HeightCompression PointPillarScatter PointPillarScatter3d Conv2DCollapse
            SparseHeightCompressionWithConv SparseMaxHeightCompression SparseToDenseDirect""",
        "PFE": "VoxelSetAbstraction",
        "BACKBONE_2D": """BaseBEVBackbone BaseBEVBackboneV1 BaseBEVResBackbone BasicStackConvLayers
            Sparse2DBackbone""",
        "DENSE_HEAD": """AnchorHeadSingle AnchorHeadMulti CenterHead VoxelNeXtHead TransFusionHead
            SparseAnchorFreeHead""",
        "POINT_HEAD": "PointHeadSimple PointHeadBox PointIntraPartOffsetHead",
        "ROI_HEAD": """PartA2FCHead PVRCNNHead SECONDHead PointRCNNHead VoxelRCNNHead MPPNetHead
            MPPNetHeadE2E CT3DHead""",
        "IMAGE_BACKBONE": "SwinTransformer",
        "NECK": "GeneralizedLSSFPN",
        "VTRANSFORM": "DepthLSSTransform",
        "FUSER": "ConvFuser",
    }.items()
}

_BACKBONE = ("MODEL", "BACKBONE_3D")
_TARGETS = ("MODEL", "DENSE_HEAD", "TARGET_ASSIGNER_CONFIG")
UNMODELLED_VALUES: Mapping[tuple[str, ...], tuple[Callable[[Any], bool], str]] = {
    (*_BACKBONE, "USE_IMG"): (bool, "focal convolutions on images"),
    (*_BACKBONE, "KERNEL_SIZE"): (
        lambda size: isinstance(size, int) and size != 3,
        "focal convolutions with another kernel than 3",
    ),
    (*_TARGETS, "NAME"): (lambda name: name == "ATSS", "the target assigner ATSS"),
    (*_TARGETS, "MATCH_HEIGHT"): (bool, "anchors that are matched by their 3D IoU"),
    (*_TARGETS, "POS_FRACTION"): (
        lambda share: isinstance(share, (int, float)) and share >= 0,
        "targets of which a share is sampled",
    ),
    (*_TARGETS, "BOX_CODER"): (
        lambda name: name in ("PreviousResidualDecoder", "PreviousResidualRoIDecoder"),
        "box coders other than ResidualCoder",
    ),
    ("MODEL", "DENSE_HEAD", "LOSS_CONFIG", "REG_LOSS_TYPE"): (
        lambda name: name == "WeightedL1Loss",
        "WeightedL1Loss, which has a precision of its own",
    ),
    ("MODEL", "DENSE_HEAD", "USE_MULTIHEAD"): (bool, "anchors of several heads in one"),
}
"""Values of modules that bevdiag builds, each with what it switches on that bevdiag leaves out."""


def built_names(slot: str) -> tuple[str, ...]:
    """Return the names that bevdiag builds in a slot, as its settings say; none for other slots."""
    field = ModelSettings.model_fields.get(slot.lower())
    return () if field is None else tuple(_literal_names(field.annotation))


def _literal_names(annotation: Any) -> Iterator[str]:
    """Yield the NAMEs in a field's type: a literal, or one or more settings that have a `name`."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif fields := getattr(annotation, "model_fields", None):
        yield from _literal_names(fields["name"].annotation)
    else:
        for member in get_args(annotation):
            yield from _literal_names(member)
