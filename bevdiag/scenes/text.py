"""Points as lines of numbers, .txt, .csv and .xyz, with or without a line of names."""

from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.scenes.layout import check_batch
from bevdiag.scenes.table import MAX_COLUMNS, MAX_SAID, NamedTable, numbers

_COMMENTS = (b"#", b"//")
_SEPARATORS = (b",", b";")
"""Where a line has neither, values are separated by white space."""
_AXES = {"x", "y", "z"}


def read_text(path: Path) -> NamedTable:
    """Read one point a line; the first line, also as a comment, may name the columns.

    Raises:
        InputError: there are no points, lines differ in their number of values, or one is no
            number.
    """
    lines = [line for raw in path.read_bytes().splitlines() if (line := raw.strip())]
    names: tuple[str, ...] = ()
    if lines:
        first = lines[0]
        for mark in _COMMENTS:
            first = first.removeprefix(mark)
        words = [word.decode("utf-8", "replace").strip(" \"'\t") for word in _words(first)]
        if {word.lower() for word in words} >= _AXES:
            names, lines = tuple(words), lines[1:]
    rows = [_words(line) for line in lines if not line.startswith(_COMMENTS)]
    if not rows:
        raise InputError(f"{path}: holds no points: give a cloud with at least one")
    width = len(names) or len(rows[0])
    if width > MAX_COLUMNS:
        raise InputError(f"{path}: has {width} columns: expected at most {MAX_COLUMNS}")
    check_batch(len(rows), width)
    if names and len(rows[0]) != width:
        said = ", ".join(names)[:MAX_SAID]
        raise InputError(
            f"{path}: names {width} columns ({said}), but its rows have {len(rows[0])} values"
        )
    return NamedTable(numbers(path, rows, width), names)


def _words(line: bytes) -> list[bytes]:
    for separator in _SEPARATORS:
        if separator in line:
            return line.rstrip(separator).split(separator)
    return line.split()
