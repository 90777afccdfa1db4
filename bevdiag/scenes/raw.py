"""Headerless .bin files: rows of floats, whose width and type have to be known."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bevdiag.errors import InputError
from bevdiag.scenes.columns import FEWEST_ROWS, MOST_NONSENSE, inside_share, nonsense_share
from bevdiag.scenes.file_tables import NamedTable, Table
from bevdiag.scenes.point_layout import DTYPES, PointLayout

_KITTI_COLUMNS = 4
_NUSCENES_COLUMNS = 5
_NUSCENES_SUFFIX = ".pcd.bin"
_WIDTHS = range(3, 13)
_MOST_TESTED = 2**18
"""Values that are enough to tell columns apart."""
_LEAST_ORDER = 0.1
_AS_GOOD = 0.95
_SURE, _DOUBTED = 0.4, 0.8
"""Of the order that another width shows, what the assumed one needs to be believed: below the
first share it is refused, below the second doubted."""


@dataclass(frozen=True, slots=True)
class _Reading:
    dtype: str
    columns: int

    def of(self, data: bytes) -> Table | None:
        """Return the table, None where the size is no multiple of a row."""
        if len(data) % self.row_bytes:
            return None
        return np.frombuffer(data, np.dtype(self.dtype).newbyteorder("<")).reshape(-1, self.columns)

    @property
    def row_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * self.columns

    def __str__(self) -> str:
        return f"{self.columns} {self.dtype} columns"


def read_bin(path: Path, layout: PointLayout) -> tuple[NamedTable, list[str]]:
    """Read rows of the width and type that the options, the file's name or the config say.

    Without any of them a row has KITTI's 4 columns, or as many as the config uses if that is more;
    a file named .pcd.bin has nuScenes' 5.

    Returns:
        The table, and notes on doubts about it.

    Raises:
        InputError: the size is no multiple of a row, or the bytes are clearly something else.
    """
    data = path.read_bytes()
    assumed = _Reading(layout.dtype or "float32", layout.columns or _usual_columns(path, layout))
    table = assumed.of(data)
    if table is None:
        fitting = [str(n) for n in _WIDTHS if _Reading(assumed.dtype, n).of(data) is not None]
        hint = f" ({', '.join(fitting)} would fit)" if fitting else ""
        raise InputError(
            f"{len(data)} bytes are no whole number of points of {assumed.columns} "
            f"{assumed.dtype} values ({assumed.row_bytes} bytes each): give "
            f"--point-columns N{hint} or --point-dtype"
        )
    return NamedTable(table), _doubts(data, assumed, table, layout)


def _usual_columns(path: Path, layout: PointLayout) -> int:
    if path.name.lower().endswith(_NUSCENES_SUFFIX):
        return max(_NUSCENES_COLUMNS, len(layout.features))
    return len(layout.stored) or max(_KITTI_COLUMNS, len(layout.features))


def _doubts(data: bytes, assumed: _Reading, table: Table, layout: PointLayout) -> list[str]:
    if len(table) < FEWEST_ROWS:
        return []
    bounds = layout.point_cloud_range
    nonsense = nonsense_share(table[:, :3]) if assumed.columns >= 3 else 1.0
    if nonsense > MOST_NONSENSE:
        better, _ = _best(_readings(data, layout, DTYPES))
        hint = f": {_asked(better, data, layout)}" if better else ""
        raise InputError(
            f"read as {assumed}, {nonsense:.0%} of the coordinates are too far or too "
            f"small for any sensor{hint or ': give --point-columns N or --point-dtype'}"
        )
    own = column_order(table)
    other, most = _best(_readings(data, layout, (assumed.dtype,)))
    if other is None or most < _LEAST_ORDER or own >= _DOUBTED * most:
        return []
    words = (
        f"read as {assumed} its columns look alike ({inside_share(table, bounds):.0%} of the "
        f"points inside the range), {_asked(other, data, layout)}"
    )
    if own < _SURE * most and layout.columns is None:
        raise InputError(f"{words}; --point-columns {assumed.columns} reads it as it was read")
    return [words]


def _best(readings: Iterable[tuple[_Reading, float]]) -> tuple[_Reading | None, float]:
    """Return the narrowest of the readings whose columns differ most, and how well they do.

    A multiple of the true width tells its columns apart just as well.
    """
    found = list(readings)
    most = max((order for _, order in found), default=0.0)
    return next((reading for reading, order in found if order >= _AS_GOOD * most), None), most


def _readings(
    data: bytes, layout: PointLayout, dtypes: tuple[str, ...]
) -> Iterator[tuple[_Reading, float]]:
    """Yield readings of the data that make sense, each with how well its columns differ."""
    for dtype in dtypes:
        for columns in _WIDTHS:
            reading = _Reading(dtype, columns)
            table = reading.of(data)
            if table is not None and nonsense_share(table[:, :3]) <= MOST_NONSENSE:
                order = column_order(table)
                if inside_share(table, layout.point_cloud_range) > 0:
                    yield reading, order


def _asked(reading: _Reading, data: bytes, layout: PointLayout) -> str:
    table = reading.of(data)
    share = 0.0 if table is None else inside_share(table, layout.point_cloud_range)
    return (
        f"as {reading} {share:.0%} of the points lie inside the range and the columns differ: "
        f"if so, give --point-columns {reading.columns} --point-dtype {reading.dtype}"
    )


def column_order(table: Table) -> float:
    """Share of the values' variance that lies between the columns, from 0 to 1.

    Columns of different quantities have sizes of their own (a height less than a distance), while
    rows of a wrong width mix them all. Signs and outliers count little: it is that of log1p(|v|).
    """
    rows = table[: max(1, _MOST_TESTED // table.shape[1])].astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < FEWEST_ROWS:
        return 0.0
    sizes = np.log1p(np.abs(rows))
    total = float(sizes.var())
    return 1 - float(sizes.var(axis=0).mean()) / total if total > 0 else 0.0
