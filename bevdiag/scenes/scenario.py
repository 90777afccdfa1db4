"""The three answers that a prediction is made for, and the street that a scene shows in each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Scenario(str, Enum):
    """Which of the possible scenes and counts a step is traced with."""

    LOW = "low"
    EXPECTED = "expected"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """How much of a street fills voxels of its own.

    Not measured: chosen so that the synthetic frames' occupied cells enclose those of the real
    frames that docs/scenes.md lists as seen.

    Attributes:
        scattered: factor on the share of directions that end in leaves (`DataSet.scattered`).
        leaf_deg: width and height of such a direction in degrees.
        speed: of the vehicle in metres per second.
        returns: factor on the number of a radar's or a sonar's returns.
    """

    scattered: float
    leaf_deg: float
    speed: float
    returns: float


STREETS: Mapping[Scenario, Street] = {
    Scenario.LOW: Street(scattered=0.2, leaf_deg=0.4, speed=0.6, returns=0.7),
    Scenario.EXPECTED: Street(scattered=1.0, leaf_deg=0.4, speed=2.0, returns=1.0),
    Scenario.HIGH: Street(scattered=2.0, leaf_deg=0.2, speed=5.0, returns=1.5),
}
"""A sparse frame (bare walls, a crawling vehicle), a common one, a dense one (trees, speed)."""
