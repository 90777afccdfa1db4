"""The sensors of known driving data sets, as data: what a frame of each of them is made of.

None of it is measured here; the numbers rest on three things:

- Published specifications, written down from memory: beams, elevations, columns and mount heights
  of KITTI's, nuScenes' and Waymo's top lidar.
- Chosen so that a scene's points or cells come near those of a few real frames: KITTI's share of
  returns, Waymo's side lidars (merged into one that does not exist) and the radar's number of
  returns.
- General knowledge, set against no frame of the data set: all of ONCE, Lyft, Argoverse 2 and
  PandaSet, every reach but Waymo's, the default share of returns, and the radar's ground and view.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bevdiag.scenes.arrays import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Lidar:
    """A spinning lidar.

    Attributes:
        elevations: lowest and highest beam in degrees.
        columns: firings in one revolution.
        height: of the sensor above the ground in metres.
        reach: farthest return in metres.
        returned: share of the rays that come back from whatever they hit.
    """

    beams: int
    elevations: tuple[float, float]
    columns: int
    height: float
    reach: float
    returned: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """What makes up a frame.

    Attributes:
        name: as its authors write it.
        keys: what names of it contain, in lower case.
        lidars: all of its lidars whose returns are merged.
        ground: height of the ground in the data set's frame, in metres.
        view: horizontal field of view that is kept, in degrees about x.
        radar_points: returns of a radar's frame, 0 for lidars.
        rate: revolutions or frames that one sample merges, per second.
        scattered: share of the directions in which a ray ends up to 40 % in front of a surface or
            30 % behind it, as in leaves and rails; chosen.
    """

    name: str
    keys: tuple[str, ...]
    lidars: tuple[Lidar, ...] = ()
    ground: float
    view: float = 360.0
    radar_points: int = 0
    rate: float = 10.0
    scattered: float = 0.25

    @property
    def rays(self) -> int:
        """The most points that one frame may have."""
        return self.radar_points + sum(lidar.beams * lidar.columns for lidar in self.lidars)


KITTI = DataSet(
    name="KITTI",
    keys=("kitti",),
    lidars=(
        Lidar(
            beams=64, elevations=(-24.9, 2.0), columns=2083, height=1.73, reach=80.0, returned=0.7
        ),
    ),
    ground=-1.73,
    view=81.0,
    scattered=0.6,
)
WAYMO = DataSet(
    name="Waymo",
    keys=("waymo",),
    lidars=(
        Lidar(beams=64, elevations=(-17.6, 2.4), columns=2650, height=2.1, reach=75.0),
        Lidar(beams=48, elevations=(-75.0, 20.0), columns=600, height=1.0, reach=20.0),
    ),
    ground=0.0,
)
NUSCENES = DataSet(
    name="nuScenes",
    keys=("nuscenes", "nus"),
    lidars=(Lidar(beams=32, elevations=(-30.67, 10.67), columns=1084, height=1.84, reach=70.0),),
    ground=-1.84,
    rate=20.0,
)
ONCE = DataSet(
    name="ONCE",
    keys=("once",),
    lidars=(Lidar(beams=40, elevations=(-25.0, 15.0), columns=1800, height=1.9, reach=100.0),),
    ground=-1.9,
)
LYFT = DataSet(
    name="Lyft",
    keys=("lyft",),
    lidars=(Lidar(beams=64, elevations=(-25.0, 10.0), columns=1100, height=1.8, reach=80.0),),
    ground=-1.8,
)
ARGOVERSE = DataSet(
    name="Argoverse 2",
    keys=("argo",),
    lidars=(Lidar(beams=64, elevations=(-25.0, 15.0), columns=1800, height=1.6, reach=200.0),),
    ground=-0.3,
)
PANDASET = DataSet(
    name="PandaSet",
    keys=("pandaset",),
    lidars=(Lidar(beams=64, elevations=(-25.0, 15.0), columns=1800, height=1.8, reach=150.0),),
    ground=-1.8,
)
VIEW_OF_DELFT = DataSet(
    name="View-of-Delft radar",
    keys=("vod", "delft", "radar"),
    ground=-1.2,
    view=120.0,
    radar_points=205,
)

DATA_SETS = (WAYMO, NUSCENES, ONCE, LYFT, ARGOVERSE, PANDASET, VIEW_OF_DELFT, KITTI)
_RADAR_FEATURES = frozenset(("rcs", "v_r", "v_r_comp"))


def matching(dataset: str, features: Sequence[str], point_cloud_range: Range) -> DataSet:
    """The data set that this name, these features or else this range speak of.

    A range that begins at the sensor is KITTI's, any other Waymo's.
    """
    if _RADAR_FEATURES.intersection(features):
        return VIEW_OF_DELFT
    lowered = dataset.lower()
    for known in DATA_SETS:
        if any(key in lowered for key in known.keys):
            return known
    return KITTI if point_cloud_range[0] >= 0.0 else WAYMO
