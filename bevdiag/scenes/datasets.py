"""The sensors of known data sets, as data: what a frame of each of them is made of.

Beams, rates and mounts come from what each entry's `source` names. Chosen instead, so that the
points and cells of a scene come near those of real frames (docs/scenes.md says which): every
`returned`, `scattered` and `reach`, Waymo's side lidars (merged into one that does not exist), and
the radar's ground and view.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bevdiag.scenes.point_layout import Range

Elevations = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lidar:
    """A spinning lidar.

    Attributes:
        elevations: of each beam in degrees.
        columns: firings in one revolution.
        height: of the sensor above the ground in metres.
        reach: farthest return in metres.
        returned: share of the rays that come back from whatever they hit.
    """

    elevations: Elevations
    columns: int
    height: float
    reach: float
    returned: float = 0.95


def even(lowest: float, highest: float, beams: int) -> Elevations:
    """Beams at equal angles between the lowest and the highest one."""
    step = (highest - lowest) / (beams - 1)
    return tuple(lowest + step * beam for beam in range(beams))


# fmt: off
VLP_32C: Elevations = (
    -25.0, -15.639, -11.31, -8.843, -7.254, -6.148, -5.333, -4.667, -4.0, -3.667, -3.333, -3.0,
    -2.667, -2.333, -2.0, -1.667, -1.333, -1.0, -0.667, -0.333, 0.0, 0.333, 0.667, 1.0, 1.333,
    1.667, 2.333, 3.333, 4.667, 7.0, 10.333, 15.0,
)
"""Velodyne VLP-32C: nearly half of its beams lie within 2.7 degrees of the horizon."""

PANDAR40P: Elevations = (
    -25.0, -19.0, -14.0, -13.0, -12.0, -11.0, -10.0, -9.0, -8.0, -7.0, -6.0, -5.67, -5.33, -5.0,
    -4.67, -4.33, -4.0, -3.67, -3.33, -3.0, -2.67, -2.33, -2.0, -1.66, -1.33, -1.0, -0.67, -0.33,
    0.0, 0.33, 0.67, 1.0, 1.33, 1.67, 2.0, 3.0, 5.0, 8.0, 11.0, 15.0,
)
"""Hesai Pandar40P."""

PANDAR64: Elevations = (
    -24.897, -18.889, -13.93, -12.974, -12.006, -11.032, -9.885, -9.06, -8.059, -7.063,
    *even(-6.061, 2.028, 49), 3.04, 5.057, 8.059, 11.032, 14.882,
)
"""Hesai Pandar64: 49 beams at steps of 0.167 degrees between its -6.06 and 2.03."""
# fmt: on


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
        usual_range: of detectors trained on it; OpenPCDet's configs have these.
        source: what says so, for people.
        scattered: share of the directions in which a ray ends up to 40 % in front of a surface or
            30 % behind it, as in leaves and rails; chosen.
    """

    name: str
    keys: tuple[str, ...]
    lidars: tuple[Lidar, ...] = ()
    ground: float
    usual_range: Range
    view: float = 360.0
    radar_points: int = 0
    rate: float = 10.0
    source: str = ""
    scattered: float = 0.25

    @property
    def rays(self) -> int:
        """The most points that one frame may have."""
        return self.radar_points + sum(
            len(lidar.elevations) * lidar.columns for lidar in self.lidars
        )


KITTI = DataSet(
    name="KITTI",
    keys=("kitti",),
    lidars=(
        Lidar(elevations=even(-24.9, 2.0, 64), columns=2083, height=1.73, reach=80.0, returned=0.7),
    ),
    ground=-1.73,
    usual_range=(0.0, -40.0, -3.0, 70.4, 40.0, 1.0),
    view=81.0,
    scattered=0.6,
    source="Geiger et al., Vision meets robotics: the KITTI dataset: Velodyne HDL-64E at 10 Hz, "
    "0.09 degrees, 26.8 degrees high, 1.73 m above the ground; OpenPCDet's FOV_POINTS_ONLY",
)
WAYMO = DataSet(
    name="Waymo",
    keys=("waymo",),
    lidars=(
        Lidar(elevations=even(-17.6, 2.4, 64), columns=2650, height=2.1, reach=75.0),
        Lidar(elevations=even(-75.0, 20.0, 48), columns=600, height=1.0, reach=20.0),
    ),
    ground=0.0,
    usual_range=(-75.2, -75.2, -2.0, 75.2, 75.2, 4.0),
    source="Sun et al., Scalability in perception for autonomous driving: Waymo open dataset: top "
    "lidar of 64 x 2650, -17.6 to 2.4 degrees, 75 m; side lidars 20 m",
)
NUSCENES = DataSet(
    name="nuScenes",
    keys=("nuscenes", "nus"),
    lidars=(Lidar(elevations=even(-30.67, 10.67, 32), columns=1084, height=1.84, reach=70.0),),
    ground=-1.84,
    usual_range=(-54.0, -54.0, -5.0, 54.0, 54.0, 3.0),
    rate=20.0,
    source="Caesar et al., nuScenes: Velodyne HDL-32E at 20 Hz, 70 m; 34,688 points a file",
)
ONCE = DataSet(
    name="ONCE",
    keys=("once",),
    lidars=(Lidar(elevations=PANDAR40P, columns=1800, height=1.9, reach=100.0),),
    ground=-1.9,
    usual_range=(-75.2, -75.2, -5.0, 75.2, 75.2, 3.0),
    source="ONCE's documentation: 40 beams at 10 Hz; no model is named: taken for a Hesai "
    "Pandar40P, whose beams are those of Hesai's driver",
)
LYFT = DataSet(
    name="Lyft",
    keys=("lyft",),
    lidars=(Lidar(elevations=even(-25.0, 10.0, 64), columns=1100, height=1.8, reach=80.0),),
    ground=-1.8,
    usual_range=(-80.0, -80.0, -5.0, 80.0, 80.0, 3.0),
    source="none found: up to three lidars, of which one of 64 beams is assumed",
)
ARGOVERSE = DataSet(
    name="Argoverse 2",
    keys=("argo", "av2"),
    lidars=(
        Lidar(elevations=VLP_32C, columns=1800, height=1.7, reach=200.0),
        Lidar(elevations=VLP_32C, columns=1800, height=1.5, reach=200.0),
    ),
    ground=-0.3,
    usual_range=(-200.0, -200.0, -20.0, 200.0, 200.0, 20.0),
    source="Wilson et al., Argoverse 2, and NVIDIA's NCore converter: two Velodyne VLP-32C, one "
    "upside down, at 10 Hz",
)
PANDASET = DataSet(
    name="PandaSet",
    keys=("pandaset",),
    lidars=(Lidar(elevations=PANDAR64, columns=1800, height=1.8, reach=150.0),),
    ground=-1.8,
    usual_range=(-70.0, -40.0, -3.0, 70.0, 40.0, 1.0),
    source="PandaSet's development kit names a Pandar64; its beams are those of Hesai's driver",
)
VIEW_OF_DELFT = DataSet(
    name="View-of-Delft radar",
    keys=("vod", "delft", "radar"),
    ground=-1.2,
    usual_range=(0.0, -25.6, -3.0, 51.2, 25.6, 2.0),
    view=120.0,
    radar_points=205,
    source="three frames of View-of-Delft's example set: 242 to 352 returns a file, about 200 of "
    "them in range",
)

DATA_SETS = (WAYMO, NUSCENES, ONCE, LYFT, ARGOVERSE, PANDASET, VIEW_OF_DELFT, KITTI)
_RADAR_FEATURES = frozenset(("rcs", "v_r", "v_r_comp"))


def matching(
    dataset: str, features: Sequence[str], point_cloud_range: Range
) -> tuple[DataSet, str]:
    """Find the data set that these features, this name or else this range speak of.

    Returns:
        The data set, and which of the three spoke: "features", "name" or "range". By range it is
        the one of lidars whose usual range has its edges nearest.
    """
    if _RADAR_FEATURES.intersection(features):
        return VIEW_OF_DELFT, "features"
    lowered = dataset.lower()
    for known in DATA_SETS:
        if any(key in lowered for key in known.keys):
            return known, "name"

    def off_by(known: DataSet) -> float:
        edges = zip(known.usual_range, point_cloud_range, strict=True)
        return sum(abs(usual - edge) for usual, edge in edges)

    return min((known for known in DATA_SETS if known.lidars), key=off_by), "range"
