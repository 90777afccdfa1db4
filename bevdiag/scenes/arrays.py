"""Files of arrays: NumPy's .npy and .npz, and Apache Arrow's .feather (Argoverse 2) and .parquet.

Pickles have no way in; Arrow's are read where pyarrow is installed.
"""

from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from bevdiag.errors import InputError
from bevdiag.scenes.file_tables import MAX_COLUMNS, MAX_SAID, NamedTable, Table
from bevdiag.scenes.point_layout import check_batch

_MALFORMED = (
    ArithmeticError,
    BadZipFile,
    EOFError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)
"""What NumPy's reading of a header, which it parses as Python's literals, or of an archive may
raise."""
_open_memmap: Callable[..., Table] = np.lib.format.open_memmap
_MOST_NAMED = 8
_AXES = ("x", "y", "z")
MAX_UNPACKED_BYTES = 2**30


def read_npy(path: Path) -> NamedTable:
    """Read a plain array [N, columns].

    Raises:
        InputError: the file is none.
    """
    try:
        # Mapped, a header that promises more than the file holds allocates nothing.
        array: Table = _open_memmap(path, mode="r")
    except _MALFORMED as error:
        raise _refused(".npy array", error, "numpy.save") from error
    return NamedTable(_numbers(array))


def read_npz(path: Path) -> NamedTable:
    """Read the one array [N, columns] of an archive, or its columns named x, y, z and so on.

    Raises:
        InputError: it holds none, or several.
    """
    try:
        with ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise ValueError(f"{unpacked} bytes unpacked are more than {MAX_UNPACKED_BYTES}")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {str(name): np.asarray(archive[name]) for name in archive.files}
    except _MALFORMED as error:
        raise _refused(".npz archive", error, "numpy.savez") from error
    lower = {name.lower(): array for name, array in arrays.items()}
    if all(axis in lower and lower[axis].ndim == 1 for axis in _AXES):
        length = len(lower["x"])
        names = [name for name, array in lower.items() if array.shape == (length,)]
        table = np.stack([_numbers(lower[name][:, None])[:, 0] for name in names], axis=1)
        if not set(_AXES) <= set(names):
            raise InputError("its arrays x, y and z differ in length: check the file")
        return NamedTable(table, tuple(names))
    tables = [name for name, array in arrays.items() if array.ndim == 2 and array.shape[1] >= 3]
    if len(tables) != 1:
        named = ", ".join(tables[:_MOST_NAMED]) or "none"
        raise InputError(
            f"expected one array [N, columns] of points, or x, y and z [N], found "
            f"{named[:MAX_SAID]}: save the points alone with numpy.save"
        )
    return NamedTable(_numbers(arrays[tables[0]]))


def _numbers(array: Table) -> Table:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(
            f"holds a {array.dtype} array of shape {list(array.shape)}: "
            "expected numbers [N, F], one row a point"
        )
    return array


def _refused(kind: str, error: BaseException, saver: str) -> InputError:
    reason = " ".join(str(error).split())[:MAX_SAID] or type(error).__name__
    return InputError(
        f"is no plain {kind} ({reason}): save the points with {saver} as a float32 array [N, F]"
    )


def read_arrow(path: Path) -> NamedTable:
    """Read the columns of numbers as float64.

    Raises:
        InputError: pyarrow is missing, or the file is malformed or too large.
    """
    try:
        import pyarrow
        from pyarrow import feather, parquet
    except ImportError as error:
        raise InputError(
            f"{path.suffix} files are read by pyarrow, which is not installed: install it "
            "(pip install pyarrow) or save the points as .npy"
        ) from error
    try:
        reader: Any = feather if path.suffix.lower() == ".feather" else parquet
        table = reader.read_table(str(path))
    except (pyarrow.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:MAX_SAID]
        raise InputError(f"is no {path.suffix} file ({reason}): check the file") from error
    numeric = [
        i
        for i, kind in enumerate(table.schema.types)
        if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
    ]
    if not 0 < len(numeric) <= MAX_COLUMNS:
        raise InputError(f"has {len(numeric)} columns of numbers: expected 1 to {MAX_COLUMNS}")
    check_batch(table.num_rows, len(numeric))
    # A missing value becomes NaN, and its row is dropped with the others that have one.
    columns = [
        np.concatenate(
            [np.zeros(0), *(chunk.to_numpy(zero_copy_only=False) for chunk in column.chunks)],
            dtype=np.float64,
        )
        for column in (table.column(i).cast(pyarrow.float64(), safe=False) for i in numeric)
    ]
    return NamedTable(np.stack(columns, axis=1), tuple(table.column_names[i] for i in numeric))
