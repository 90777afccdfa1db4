"""Point files of every kind as the tests write, read and refuse them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import PointLayout, Scenario, Wanted, read_points

XYZI = ("x", "y", "z", "intensity")
XYZIT = (*XYZI, "timestamp")
FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
POINTS = np.arange(25, dtype=np.float32).reshape(5, 5) / 8
PCD_HEADER = (
    "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    "WIDTH 5\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 5\nDATA {}\n"
)
PLY_HEADER = (
    "ply\nformat {} 1.0\ncomment made by hand\nelement vertex 5\nproperty float x\n"
    "property float y\nproperty float z\nproperty float intensity\nelement face 0\n"
    "property list uchar int vertex_indices\nend_header\n"
)


def written() -> str:
    return "\n".join(" ".join(map(str, row)) for row in POINTS[:, :4]) + "\n"


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def layout(num_features: int = 4, **known: Any) -> PointLayout:
    return PointLayout(**{"features": XYZIT[:num_features], "point_cloud_range": FORWARD, **known})


def read(path: Path, num_features: int = 4, **known: Any) -> np.ndarray:
    """What is read where nothing is in doubt."""
    points, notes = read_points(path, layout(num_features, **known))
    assert notes == []
    return points


def noted(path: Path, words: str, num_features: int = 4, **known: Any) -> np.ndarray:
    points, notes = read_points(path, layout(num_features, **known))
    assert re.search(words, "; ".join(notes)), notes
    return points


def refused(path: Path, words: str, num_features: int = 4, **known: Any) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_points(path, layout(num_features, **known))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def synthetic(bounds, dataset) -> np.ndarray:
    layout = PointLayout(features=XYZI, point_cloud_range=bounds)
    wanted = Wanted(layout=layout, batch_size=1, dataset=dataset)
    return wanted.samples(Scenario.EXPECTED)[0][0]


def kitti(num_points: int = 12_000) -> np.ndarray:
    cloud = synthetic(FORWARD, "KittiDataset")
    return cloud[:num_points].copy()
