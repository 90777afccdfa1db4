"""The checked settings that the rest of bevdiag works with; field names follow OpenPCDet's keys.

Upper-case keys of the dialect become lower-case fields (`NUM_FILTERS` -> `num_filters`); DSVT's
keys are lower-case in the YAML already. Every list shape that the original code relies on is
checked here, because the originals fail late and obscurely. Sizes are in voxels, lengths in metres,
and triples are x, y, z unless a field says otherwise.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bevdiag.config.backbone_settings import Backbone3dSettings, VfeSettings
from bevdiag.config.bev_settings import Backbone2dSettings, MapToBevSettings
from bevdiag.config.checking import Flag, Lengths, PositiveInt, Range, Real, Settings, Triple
from bevdiag.config.head_settings import DenseHeadSettings


class ModelSettings(Settings):
    """The detector and its modules, each picked by its NAME.

    The three detectors run their modules in a row and take the dense head's loss.
    """

    name: Literal["CenterPoint", "PointPillar", "SECONDNet"]
    vfe: Annotated[VfeSettings, Field(discriminator="name")]
    backbone_3d: Annotated[Backbone3dSettings, Field(discriminator="name")] | None = None
    map_to_bev: Annotated[MapToBevSettings, Field(discriminator="name")]
    backbone_2d: Annotated[Backbone2dSettings, Field(discriminator="name")]
    dense_head: Annotated[DenseHeadSettings, Field(discriminator="name")]


class OptimizationSettings(Settings):
    """OPTIMIZATION: what one training step does after the backward pass."""

    batch_size_per_gpu: PositiveInt = 1
    optimizer: Literal["adam", "adamw", "sgd", "adam_onecycle", "adam_cosineanneal"] = "adamw"
    lr: Real = Field(default=0.003, gt=0)
    weight_decay: Real = Field(default=0.01, ge=0)
    momentum: Real = Field(default=0.9, ge=0, lt=1)
    grad_norm_clip: Real = Field(default=10.0, gt=0)
    use_amp: Flag = False


class DataSettings(BaseModel):
    """What of DATA_CONFIG decides memory.

    `grid_size` is (x, y, z) in voxels. `max_points_per_voxel` and `max_voxels` (per sample, in
    training; `max_test_voxels` in evaluation) are None where the config voxelizes dynamically,
    without a cap.
    """

    model_config = ConfigDict(frozen=True)

    point_cloud_range: Range
    voxel_size: Lengths
    grid_size: Triple
    max_points_per_voxel: PositiveInt | None
    max_voxels: PositiveInt | None
    max_test_voxels: PositiveInt | None = None
    point_features: tuple[str, ...]
