"""The settings of the voxel feature encoders."""

from typing import Literal

from pydantic import Field

from bevdiag.config.checking import Flag, Lengths, PositiveInt, Range, Settings

DYNAMIC_VFES = frozenset({"DynMeanVFE", "DynPillarVFE", "DynamicVoxelVFE"})
"""The encoders that group the points themselves, on the device and without a cap; the others read
padded voxels."""


class MeanVfeSettings(Settings):
    """The mean of each voxel's points."""

    name: Literal["MeanVFE", "DynMeanVFE"]


class PointNetVfeSettings(Settings):
    """A PointNet in each pillar or (DynamicVoxelVFE) voxel; none of its keys has a default there.

    Every layer but the last gives half of its filters to a point and half to its voxel's maximum.
    """

    name: Literal["PillarVFE", "DynPillarVFE", "DynamicVoxelVFE"]
    num_filters: tuple[PositiveInt, ...] = Field(min_length=1)
    use_norm: Flag
    with_distance: Flag
    use_abslote_xyz: Flag


class SdaVfeSettings(Settings):
    """SDAVFE: padded point features with channel and point attention."""

    name: Literal["SDAVFE"]
    num_filters: tuple[PositiveInt, ...] = Field(min_length=1)
    use_norm: Flag = True
    with_distance: Flag = False
    use_abslote_xyz: Flag = True
    voxel_size: Lengths
    point_cloud_range: Range


VfeSettings = MeanVfeSettings | PointNetVfeSettings | SdaVfeSettings
