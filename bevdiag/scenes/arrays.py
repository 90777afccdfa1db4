"""The array types that the scenes share."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float, float, float, float, float]
"""x_min, y_min, z_min, x_max, y_max, z_max in metres."""

Points: TypeAlias = NDArray[np.float32]
"""[N, F]: x, y, z in metres, then the sensor's features."""
