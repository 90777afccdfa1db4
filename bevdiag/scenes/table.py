"""What .pcd and .ply files share: named columns of mixed types, as text or as packed rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError

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
        InputError: x, y or z is missing, the data is too short, or the text is not numeric.
    """
    order = _point_order(path, columns)
    if ascii_text:
        table = _text_rows(path, body, sum(column.count for column in columns), num_rows)
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
    try:
        values = np.array(body.split(), dtype="S").astype(np.float64)
    except ValueError as error:
        raise InputError(f"{path}: a value is not a number ({error}): check the file") from error
    wanted = num_rows * width
    if len(values) < wanted:
        raise InputError(
            f"{path}: the header promises {num_rows} points of {width} values, but only "
            f"{len(values)} values follow: the file is cut short"
        )
    return values[:wanted].reshape(num_rows, width)


def _packed_rows(path: Path, body: bytes, columns: Sequence[Column], num_rows: int) -> Table:
    row = np.dtype([(f"c{i}", c.dtype, (c.count,)) for i, c in enumerate(columns)])
    if len(body) < num_rows * row.itemsize:
        raise InputError(
            f"{path}: the header promises {num_rows} points of {row.itemsize} bytes, but only "
            f"{len(body)} bytes follow: the file is cut short"
        )
    rows = np.frombuffer(body, row, count=num_rows)
    return np.concatenate([rows[name].astype(np.float64) for name in row.names or ()], axis=1)
