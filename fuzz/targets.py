"""What is fuzzed: functions of bytes that may refuse them in one sentence, and nothing else."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bevdiag.config import load_config
from bevdiag.errors import BevdiagError
from bevdiag.explain.decode import decode
from bevdiag.explain.messages import read_log
from bevdiag.scenes import PointLayout, read_points

CORPUS = Path(__file__).parent / "corpus"
"""A folder of seeds a target."""

_POINT_FILES = (".npy", ".bin", ".pcd", ".ply")
_LAYOUT = PointLayout(
    features=("x", "y", "z", "intensity"), point_cloud_range=(0, -40, -3, 70.4, 40, 1)
)
_FOLDER = Path(tempfile.mkdtemp(prefix="bevdiag-fuzz-", dir=os.environ.get("TMPDIR")))


def config(data: bytes) -> None:
    """Read a config file."""
    path = _FOLDER / "config.yaml"
    path.write_bytes(data)
    with suppress(BevdiagError):
        load_config(path)


def points(data: bytes) -> None:
    """Read a point file; the first byte says of which kind."""
    kind = _POINT_FILES[data[0] % len(_POINT_FILES)] if data else _POINT_FILES[0]
    path = _FOLDER / f"points{kind}"
    path.write_bytes(data[1:])
    with suppress(BevdiagError):
        read_points(path, _LAYOUT)


def log(data: bytes) -> None:
    """Read a training log."""
    for failure in read_log(data.decode("utf-8", "replace")):
        decode(failure)


TARGETS: dict[str, Callable[[bytes], None]] = {"config": config, "points": points, "log": log}
