"""mmcv's compiled extension, as its stub gives it."""

from collections.abc import Callable
from typing import Any

from bevdiag.source.stubs.mmcv import NAME, mmcv_modules

EXT: Any = mmcv_modules()[NAME]
Held = Callable[[Callable[[], object]], list[int]]
"""Gives the sizes of what a call allocates on the device, in order."""
