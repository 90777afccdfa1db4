"""Spinning lidars, and the elevations of their beams in degrees, as their makers list them."""

from dataclasses import dataclass

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
