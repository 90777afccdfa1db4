"""PLY, the Stanford polygon format: a text header, then ascii or binary rows of vertices."""

from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.scenes.table import (
    MAX_HEADER_BYTES,
    Column,
    NamedTable,
    read_packed_rows,
    read_text_rows,
)

_DTYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
_BYTE_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_END = b"end_header"
_MOST_DIGITS = 18
_MOST_CHARACTERS = 200


def read_ply(path: Path) -> NamedTable:
    """Read the vertices of a .ply file.

    Raises:
        InputError: the header is malformed, or the data is cut short.
    """
    lines, body = _split(path, path.read_bytes())
    encoding = next((line[1] for line in lines if line[0] == "format" and len(line) > 1), "")
    if encoding not in _BYTE_ORDERS:
        raise InputError(
            f"{path}: format {encoding[:_MOST_CHARACTERS] or 'line missing'!r} is not read: save "
            f"it as one of {', '.join(_BYTE_ORDERS)}"
        )
    num_points, columns = _vertices(path, lines, _BYTE_ORDERS[encoding])
    read = read_text_rows if encoding == "ascii" else read_packed_rows
    return read(path, body, columns, num_points)


def _split(path: Path, data: bytes) -> tuple[list[list[str]], bytes]:
    end = data.find(_END, 0, MAX_HEADER_BYTES)
    newline = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0 or newline < 0:
        raise InputError(f"{path}: has no PLY header: it is no PLY file or is cut short")
    text = data[:end].decode("ascii", "replace")
    return [words for line in text.splitlines() if (words := line.split())], data[newline + 1 :]


def _vertices(path: Path, lines: list[list[str]], byte_order: str) -> tuple[int, list[Column]]:
    elements = [i for i, line in enumerate(lines) if line[0] == "element"]
    if not elements or lines[elements[0]][1:2] != ["vertex"]:
        raise InputError(
            f"{path}: its first element is not vertex: save the points as the first element"
        )
    vertex = lines[elements[0]]
    if len(vertex) != 3 or not vertex[2].isdigit() or len(vertex[2]) > _MOST_DIGITS:
        said = " ".join(vertex)[:_MOST_CHARACTERS]
        raise InputError(f"{path}: {said!r} does not say how many vertices follow")
    end = elements[1] if len(elements) > 1 else len(lines)
    columns = []
    for line in lines[elements[0] + 1 : end]:
        if line[0] != "property":
            continue
        if len(line) != 3 or line[1] not in _DTYPES:
            said = " ".join(line[1:])[:_MOST_CHARACTERS]
            raise InputError(
                f"{path}: vertex property {said!r} is not read: points hold single numbers only"
            )
        columns.append(Column(line[2], byte_order + _DTYPES[line[1]]))
    return int(vertex[2]), columns
