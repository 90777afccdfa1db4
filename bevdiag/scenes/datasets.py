"""The sensors of known data sets, as data: what a frame of each of them is made of.

Beams, rates and mounts come from what each entry's `source` names. Chosen instead, so that the
points and cells of a scene come near those of real frames (docs/scenes.md says which): every
`returned`, `scattered` and `reach`, Waymo's side lidars (merged into one that does not exist), and
the radar's ground and view.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from typing import Any

from pydantic import TypeAdapter

from bevdiag.scenes.point_layout import Range

Elevations = tuple[float, ...]
"""Of each beam in degrees. A VLP-32C has nearly half of its beams within 2.7 of the horizon, a
Pandar64 49 at steps of 0.167: how points crowd far away hangs on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lidar:
    """A spinning lidar.

    Attributes:
        elevations: of its beams.
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


def _read() -> Mapping[str, DataSet]:
    """Read the data sets by name, in the order in which names are looked for."""
    text = resources.files("bevdiag.scenes").joinpath("data", "datasets.json").read_text("utf-8")
    read = json.loads(text)
    elevations = {name: _elevations(beams) for name, beams in read["beams"].items()}
    for entry in read["data_sets"]:
        for lidar in entry.get("lidars", ()):
            lidar["elevations"] = elevations[lidar.pop("beams")]
    return {
        known.name: known for known in TypeAdapter(list[DataSet]).validate_python(read["data_sets"])
    }


def _elevations(beams: Sequence[float | list[Any]]) -> Elevations:
    """Return angles as they are written; [lowest, highest, number] stands for `even` ones."""
    parts = (even(*beam) if isinstance(beam, list) else (beam,) for beam in beams)
    return tuple(chain.from_iterable(parts))


DATA_SETS = _read()
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
        return DATA_SETS["View-of-Delft radar"], "features"
    lowered = dataset.lower()
    for known in DATA_SETS.values():
        if any(key in lowered for key in known.keys):
            return known, "name"

    def off_by(known: DataSet) -> float:
        edges = zip(known.usual_range, point_cloud_range, strict=True)
        return sum(abs(usual - edge) for usual, edge in edges)

    return min((known for known in DATA_SETS.values() if known.lidars), key=off_by), "range"
