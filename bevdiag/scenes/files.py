"""Point files: .npy, KITTI's .bin, .pcd and .ply."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np

from bevdiag.errors import InputError
from bevdiag.scenes.arrays import Points
from bevdiag.scenes.pcd import read_pcd
from bevdiag.scenes.ply import read_ply
from bevdiag.scenes.size import check_batch
from bevdiag.scenes.table import Table

_MOST_CHARACTERS = 200
_MALFORMED = (
    ArithmeticError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)
"""What NumPy's reading of a header may raise, which parses it as Python's literals."""
_open_memmap: Callable[..., Table] = np.lib.format.open_memmap
_KITTI_COLUMNS = 4
_NUSCENES_COLUMNS = 5
MAX_FILE_BYTES = 2**30


def read_points(path: Path, num_features: int) -> Points:
    """Read one point cloud.

    Args:
        path: .npy with [N, F]; .bin of float32 rows (4 columns as KITTI writes them, 5 where the
            name ends in .pcd.bin as nuScenes' do, `num_features` if that is more); .pcd in ascii
            or binary; .ply in ascii or binary_little_endian.
        num_features: columns to keep, x, y, z first; further ones are cut.

    Returns:
        float32 [N, num_features].

    Raises:
        InputError: the file is missing, malformed, empty, too narrow or not finite.
    """
    readers: dict[str, Callable[[Path], Table]] = {
        ".npy": _read_npy,
        ".bin": lambda file: _read_bin(file, num_features),
        ".pcd": read_pcd,
        ".ply": read_ply,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(readers)
        raise InputError(f"{path}: unknown point file type {path.suffix!r}: give one of {known}")
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no file: give the file that holds the points")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path}: is larger than {MAX_FILE_BYTES} bytes: give a single cloud")
        table = reader(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be read ({reason}): check the path") from error
    return _checked(path, table, num_features)


def read_samples(
    paths: Sequence[Path], num_features: int, batch_size: int
) -> tuple[tuple[Points, ...], str]:
    """Sample i takes file i modulo their number; also returns a phrase that names the source.

    Raises:
        InputError: a file cannot be used, or the batch is too large.
    """
    check_batch(batch_size, num_features)  # of a point each, before any file is read
    used = paths[:batch_size]
    clouds = [read_points(path, num_features) for path in used]
    num_points = sum(len(clouds[i % len(clouds)]) for i in range(batch_size))
    check_batch(num_points, num_features)
    samples = tuple(clouds[i % len(clouds)] for i in range(batch_size))
    return samples, ", ".join(path.name for path in used)


def _read_npy(path: Path) -> Table:
    try:
        # Mapped, a header that promises more than the file holds allocates nothing, and a pickle
        # has no way in.
        with np.errstate(over="ignore"):
            array: Table = _open_memmap(path, mode="r")
    except _MALFORMED as error:
        reason = " ".join(str(error).split())[:_MOST_CHARACTERS] or type(error).__name__
        raise InputError(
            f"{path}: is no plain .npy array ({reason}): save the points with "
            "numpy.save as a float32 array [N, F]"
        ) from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: holds a {array.dtype} array of shape {list(array.shape)}: "
            "expected numbers [N, F], one row a point"
        )
    return array


def _read_bin(path: Path, num_features: int) -> Table:
    usual = _NUSCENES_COLUMNS if path.name.endswith(".pcd.bin") else _KITTI_COLUMNS
    columns = max(usual, num_features)
    data = path.read_bytes()
    row_bytes = 4 * columns
    if len(data) % row_bytes:
        raise InputError(
            f"{path}: {len(data)} bytes are no whole number of points of {columns} float32 values "
            f"({row_bytes} bytes each): check how many features the file holds"
        )
    return np.frombuffer(data, "<f4").reshape(-1, columns)


def _checked(path: Path, table: Table, num_features: int) -> Points:
    num_points, columns = table.shape
    if not num_points:
        raise InputError(f"{path}: holds no points: give a cloud with at least one")
    if columns < num_features:
        raise InputError(
            f"{path}: has {columns} columns a point, but the config uses {num_features} "
            "features: add the missing columns or shorten used_feature_list"
        )
    check_batch(num_points, num_features)
    # Values beyond float32 become inf here and are refused just below.
    with np.errstate(over="ignore"):
        points = np.ascontiguousarray(table[:, :num_features], np.float32)
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{path}: {num_points - int(finite.sum())} of {num_points} points hold NaN or infinite "
            f"values, the first in row {int(np.argmin(finite))}: remove them"
        )
    return points
