"""What .pcd and .ply files share: named columns of mixed types, as text or as packed rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError
from bevdiag.scenes.size import check_batch

MAX_HEADER_BYTES = 2**16
MAX_COLUMNS = 1024
_MOST_CHARACTERS = 200
_WORD = re.compile(rb"\S+")

Table = NDArray[Any]
"""[N, columns] of any number type."""


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a row: `count` values of a NumPy type; `name` is empty for padding."""

    name: str
    dtype: str
    count: int = 1


def read_rows(
    path: Path, body: bytes, columns: Sequence[Column], num_rows: int, *, ascii_text: bool
) -> Table:
    """Read `num_rows` rows, x, y and z first and the other columns in their order, as float64.

    Raises:
        InputError: x, y or z is missing, there are too many columns or rows, the data is too
            short, or the text is not numeric.
    """
    width = sum(column.count for column in columns)
    if width > MAX_COLUMNS:
        raise InputError(f"{path}: has {width} columns: expected at most {MAX_COLUMNS}")
    check_batch(num_rows, width)
    order = _point_order(path, columns)
    if ascii_text:
        table = _text_rows(path, body, width, num_rows)
    else:
        table = _packed_rows(path, body, columns, num_rows)
    return table[:, order]


def _point_order(path: Path, columns: Sequence[Column]) -> list[int]:
    names: list[str] = []
    for column in columns:
        names += [column.name if column.count == 1 else ""] * column.count
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing)}: a point needs columns named x, y and z"
        )
    xyz = [names.index(axis) for axis in "xyz"]
    return xyz + [i for i, name in enumerate(names) if name and i not in xyz]


def _text_rows(path: Path, body: bytes, width: int, num_rows: int) -> Table:
    wanted = num_rows * width
    # Word by word: a list of all words would take many times the file's size.
    words = (float(match[0]) for match in islice(_WORD.finditer(body), wanted))
    try:
        values = np.fromiter(words, np.float64)
    except ValueError as error:
        reason = str(error)[:_MOST_CHARACTERS]
        raise InputError(f"{path}: a value is not a number ({reason}): check the file") from error
    if len(values) < wanted:
        raise InputError(
            f"{path}: the header promises {num_rows} points of {width} values, but only "
            f"{len(values)} values follow: the file is cut short"
        )
    return values.reshape(num_rows, width)


def _packed_rows(path: Path, body: bytes, columns: Sequence[Column], num_rows: int) -> Table:
    row = np.dtype([(f"c{i}", c.dtype, (c.count,)) for i, c in enumerate(columns)])
    if len(body) < num_rows * row.itemsize:
        raise InputError(
            f"{path}: the header promises {num_rows} points of {row.itemsize} bytes, but only "
            f"{len(body)} bytes follow: the file is cut short"
        )
    rows = np.frombuffer(body, row, count=num_rows)
    return np.concatenate([rows[name].astype(np.float64) for name in row.names or ()], axis=1)
