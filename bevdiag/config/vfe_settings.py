"""The settings of the voxel feature encoders."""

from typing import Literal

from pydantic import Field

from bevdiag.config.fields import Flag, Lengths, PositiveInt, Range, Settings


class MeanVfeSettings(Settings):
    """MeanVFE: the mean of each voxel's points, over padded voxels."""

    name: Literal["MeanVFE"]


class DynamicMeanVfeSettings(Settings):
    """DynMeanVFE: the mean of each voxel's points, voxelized on the device and without a cap."""

    name: Literal["DynMeanVFE"]


class PointNetVfeSettings(Settings):
    """What the encoders with a PointNet in each voxel share; none of it has a default there.

    Every layer but the last gives half of its filters to a point and half to its voxel's maximum.
    """

    num_filters: tuple[PositiveInt, ...] = Field(min_length=1)
    use_norm: Flag
    with_distance: Flag
    use_abslote_xyz: Flag


class PillarVfeSettings(PointNetVfeSettings):
    """PillarVFE: on padded pillars."""

    name: Literal["PillarVFE"]


class DynamicPillarVfeSettings(PointNetVfeSettings):
    """DynPillarVFE: on the points themselves, grouped into pillars."""

    name: Literal["DynPillarVFE"]


class DynamicVoxelVfeSettings(PointNetVfeSettings):
    """DynamicVoxelVFE: on the points themselves, grouped into voxels."""

    name: Literal["DynamicVoxelVFE"]


class SdaVfeSettings(Settings):
    """SDAVFE: padded point features with channel and point attention."""

    name: Literal["SDAVFE"]
    num_filters: tuple[PositiveInt, ...] = Field(min_length=1)
    use_norm: Flag = True
    with_distance: Flag = False
    use_abslote_xyz: Flag = True
    voxel_size: Lengths
    point_cloud_range: Range


PaddedVfeSettings = MeanVfeSettings | PillarVfeSettings | SdaVfeSettings
"""The encoders that read padded voxels."""

DynamicVfeSettings = DynamicMeanVfeSettings | DynamicPillarVfeSettings | DynamicVoxelVfeSettings
"""The encoders that group the points themselves."""

VfeSettings = PaddedVfeSettings | DynamicVfeSettings
