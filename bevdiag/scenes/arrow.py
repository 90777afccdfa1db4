"""Apache Arrow's column files, .feather (Argoverse 2) and .parquet, where pyarrow is installed."""

from pathlib import Path
from typing import Any

import numpy as np

from bevdiag.errors import InputError
from bevdiag.scenes.layout import check_batch
from bevdiag.scenes.table import MAX_COLUMNS, MAX_SAID, NamedTable


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
            f"{path}: {path.suffix} files are read by pyarrow, which is not installed: install it "
            "(pip install pyarrow) or save the points as .npy"
        ) from error
    try:
        reader: Any = feather if path.suffix.lower() == ".feather" else parquet
        table = reader.read_table(str(path))
    except (pyarrow.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:MAX_SAID]
        raise InputError(f"{path}: is no {path.suffix} file ({reason}): check the file") from error
    numeric = [
        i
        for i, kind in enumerate(table.schema.types)
        if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
    ]
    if not 0 < len(numeric) <= MAX_COLUMNS:
        raise InputError(
            f"{path}: has {len(numeric)} columns of numbers: expected 1 to {MAX_COLUMNS}"
        )
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
