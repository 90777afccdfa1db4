"""Point files of every kind, and which of them the samples of a batch take."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bevdiag.errors import InputError
from bevdiag.files.known import note_input
from bevdiag.scenes.arrays import read_arrow, read_npy, read_npz
from bevdiag.scenes.columns import chosen_columns, doubts_of, without_gaps
from bevdiag.scenes.file_tables import NamedTable, read_text
from bevdiag.scenes.pcd_and_ply import read_pcd, read_ply
from bevdiag.scenes.point_layout import PointLayout, Points, check_batch
from bevdiag.scenes.raw import read_bin

MAX_FILE_BYTES = 2**30
_RAW = ".bin"
_READERS: dict[str, Callable[[Path], NamedTable]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".pcd": read_pcd,
    ".ply": read_ply,
    ".txt": read_text,
    ".csv": read_text,
    ".xyz": read_text,
    ".feather": read_arrow,
    ".parquet": read_arrow,
}
SUFFIXES = (_RAW, *_READERS)
_MOST_COLUMNS = 64
"""Of a table with fewer rows than columns: a point has fewer values."""


def read_points(path: Path, layout: PointLayout) -> tuple[Points, list[str]]:
    """Read one point cloud.

    Args:
        path: one of `SUFFIXES`; for the width of a .bin see `raw.read_bin`.
        layout: which columns are wanted, and what is known of the file.

    Returns:
        float32 [N, features], and notes on what is doubtful about the file.

    Raises:
        InputError: the file is missing, malformed, empty, too narrow or no point cloud.
    """
    try:
        # Values beyond float32 become inf and bytes that are none NaN: their points are dropped.
        with np.errstate(over="ignore", invalid="ignore"):
            return _read(path, layout)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be read ({reason}): check the path") from error
    except InputError as error:
        # A reader says what is wrong, and here is said with which file.
        raise InputError(f"{path}: {error}") from error


def _read(path: Path, layout: PointLayout) -> tuple[Points, list[str]]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise InputError(f"unknown point file type {path.suffix!r}: give one of {known}")
    if path.exists() and not path.is_file():
        raise InputError("is no file: give the file that holds the points")
    note_input(path)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"is larger than {MAX_FILE_BYTES} bytes: give a single cloud")
    if suffix == _RAW:
        table, notes = read_bin(path, layout)
    else:
        table, notes = _READERS[suffix](path), []
    points, more = _checked(table, layout)
    return points, notes + more


def read_samples(
    paths: Sequence[Path], layout: PointLayout, batch_size: int, *, seed: int = 0
) -> tuple[tuple[Points, ...], str]:
    """Sample i takes file i modulo their number; a folder stands for files out of it.

    Where the config shuffles, sample i is shuffled with seed + i.

    Returns:
        The clouds, and a phrase that names the files and what is doubtful about them.

    Raises:
        InputError: a file cannot be used, or the batch is too large.
    """
    check_batch(batch_size, len(layout.features))  # of a point each, before any file is read
    used = [file for path in paths for file in point_files(path, batch_size)][:batch_size]
    if (layout.columns or layout.dtype) and not any(path.suffix.lower() == _RAW for path in used):
        option = "--point-columns" if layout.columns else "--point-dtype"
        raise InputError(
            f"{option}: only a .bin file lacks this, {used[0].name} says it itself: leave it out"
        )
    clouds, phrases = [], []
    for path in used:
        points, notes = read_points(path, layout)
        clouds.append(points)
        phrases.append(f"{path.name} ({'; '.join(notes)})" if notes else path.name)
    num_points = sum(len(clouds[i % len(clouds)]) for i in range(batch_size))
    check_batch(num_points, len(layout.features))
    samples = [clouds[i % len(clouds)] for i in range(batch_size)]
    if layout.shuffled:
        samples = [np.random.default_rng(seed + i).permutation(s) for i, s in enumerate(samples)]
    return tuple(samples), ", ".join(phrases)


def point_files(path: Path, most: int) -> list[Path]:
    """List the path or, of a folder, up to `most` files of its commonest kind, evenly spread.

    Raises:
        InputError: a folder cannot be read or holds no point files.
    """
    if not path.is_dir():
        return [path]
    try:
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    if not files:
        raise InputError(f"{path}: holds no point files: expected some of {', '.join(SUFFIXES)}")
    (kind, _), *_rest = Counter(file.suffix.lower() for file in files).most_common()
    files = [file for file in files if file.suffix.lower() == kind]
    if len(files) <= most:
        return files
    return [files[i * len(files) // most] for i in range(most)]


def _checked(table: NamedTable, layout: PointLayout) -> tuple[Points, list[str]]:
    num_points, num_columns = table.values.shape
    if not num_points:
        raise InputError("holds no points: give a cloud with at least one")
    if num_points < num_columns and num_columns > _MOST_COLUMNS:
        raise InputError(
            f"holds {num_points} rows of {num_columns} values, so it is transposed: save "
            "one row a point"
        )
    columns, notes = chosen_columns(num_columns, table.names, layout)
    check_batch(num_points, len(columns))
    points = np.ascontiguousarray(table.values[:, columns], np.float32)
    if num_points < num_columns:
        notes.append(f"{num_points} rows of {num_columns} values: one row a point?")
    points, gaps = without_gaps(points)
    return points, [*notes, *gaps, *doubts_of(points, layout.point_cloud_range)]
