"""Tables whose columns may have names, in text or packed; and the reader of plain text files."""

import codecs
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError
from bevdiag.scenes.point_layout import check_batch

MAX_HEADER_BYTES = 2**16
MAX_COLUMNS = 1024
MAX_SAID = 200
"""Characters of a file that an error repeats."""

Table = NDArray[Any]
"""[N, columns] of any number type."""
_NO_ROWS: Table = np.empty((0, 0))


@dataclass(frozen=True, slots=True, eq=False)
class NamedTable:
    """What a file holds: its rows, and the names of their columns where it has any."""

    values: Table
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileField:
    """One field of a row: `count` values of a NumPy type; `name` is empty for padding."""

    name: str
    dtype: str
    count: int = 1


def read_text_rows(body: bytes, columns: Sequence[FileField], num_rows: int) -> NamedTable:
    """Read `num_rows` lines of numbers as float64, padding left out.

    Raises:
        InputError: there are too many columns or rows, the text is cut short or not numeric, or a
            line holds more or fewer values than there are columns.
    """
    width = _width(columns, num_rows)
    rows = (words for line in _lines(body) if (words := line.split(None, width)))
    values = numbers(islice(rows, num_rows), width)
    if len(values) < num_rows:
        raise InputError(
            f"the header promises {num_rows} points of {width} values, but only "
            f"{len(values)} rows follow: the file is cut short"
        )
    return _named(columns, values)


def _lines(text: bytes) -> Iterator[bytes]:
    """Yield the lines one by one: all at once they take many times the memory of the text."""
    return io.BytesIO(text.replace(b"\r", b"\n"))


def numbers(rows: Iterable[Sequence[bytes]], width: int) -> Table:
    """Read the words of rows of text as float64 [rows, width].

    Raises:
        InputError: a row has another number of words, or a word is not a number.
    """

    def values() -> Iterator[float]:
        for row, words in enumerate(rows, 1):
            if len(words) != width:
                raise InputError(
                    f"row {row} of the points has {len(words)} values instead of {width}: every "
                    "row needs one value a column; if it is the last one, the file is cut short"
                )
            yield from map(float, words)

    try:
        return np.fromiter(values(), np.float64).reshape(-1, width)
    except ValueError as error:
        reason = str(error)[:MAX_SAID]
        raise InputError(f"a value is not a number ({reason}): check the file") from error


def read_packed(
    body: bytes, columns: Sequence[FileField], num_rows: int, *, by_column: bool = False
) -> NamedTable:
    """Read packed values as float64, row after row or column after column; padding is left out.

    Raises:
        InputError: there are too many columns or rows, or the data is too short.
    """
    _width(columns, num_rows)
    if not num_rows:
        return NamedTable(_NO_ROWS)
    sizes = [column.count * np.dtype(column.dtype).itemsize for column in columns]
    row_bytes = sum(sizes)
    if len(body) < num_rows * row_bytes:
        raise InputError(
            f"the header promises {num_rows} points of {row_bytes} bytes, but only "
            f"{len(body)} bytes follow: the file is cut short"
        )
    parts, start = [], 0
    for column, size in zip(columns, sizes, strict=True):
        strides = size if by_column else row_bytes, size // column.count
        shape = num_rows, column.count
        part: Table = np.ndarray(shape, column.dtype, body, start, strides)
        parts.append(part.astype(np.float64))
        start += num_rows * size if by_column else size
    return _named(columns, np.concatenate(parts, axis=1))


def _width(columns: Sequence[FileField], num_rows: int) -> int:
    width = sum(column.count for column in columns)
    if width > MAX_COLUMNS:
        raise InputError(f"has {width} columns: expected at most {MAX_COLUMNS}")
    check_batch(num_rows, width)
    return width


def _named(columns: Sequence[FileField], values: Table) -> NamedTable:
    names: list[str] = []
    for column in columns:
        names += [column.name if column.count == 1 else ""] * column.count
    kept = [i for i, name in enumerate(names) if name]
    return NamedTable(values[:, kept], tuple(names[i] for i in kept))


_COMMENTS = (b"#", b"//")
_SEPARATORS = (b",", b";")
"""Where a line has neither, values are separated by white space."""
_AXES = {"x", "y", "z"}


def read_text(path: Path) -> NamedTable:
    """Read one point a line; the first line, also as a comment, may name the columns.

    Raises:
        InputError: lines differ in their number of values, or one is no number.
    """
    text = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    lines: Iterator[bytes] = (line for raw in _lines(text) if (line := raw.strip()))
    names: tuple[str, ...] = ()
    first = next(lines, b"#")
    title = first
    for mark in _COMMENTS:
        title = title.removeprefix(mark)
    words = [word.decode("utf-8", "replace").strip(" \"'\t") for word in _words(title)]
    if {word.lower() for word in words} >= _AXES:
        names = tuple(words)
    else:
        lines = chain((first,), lines)
    rows = (_words(line) for line in lines if not line.startswith(_COMMENTS))
    row = next(rows, None)
    if row is None:
        return NamedTable(_NO_ROWS)
    width = len(names) or len(row)
    if width > MAX_COLUMNS:
        raise InputError(f"has {width} columns: expected at most {MAX_COLUMNS}")
    check_batch(text.count(b"\n"), width)
    if names and len(row) != width:
        said = ", ".join(names)[:MAX_SAID]
        raise InputError(f"names {width} columns ({said}), but its rows have {len(row)} values")
    return NamedTable(numbers(chain((row,), rows), width), names)


def _words(line: bytes) -> list[bytes]:
    for separator in _SEPARATORS:
        if separator in line:
            return line.rstrip(separator).split(separator, MAX_COLUMNS)
    return line.split(None, MAX_COLUMNS)
