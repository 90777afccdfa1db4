"""PCD, the Point Cloud Library's format (version 0.7), and PLY, the Stanford polygon format.

Both have a text header; the points follow as ascii lines or as packed rows (binary), in PCD also
column by column under LZF (binary_compressed).
"""

from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.scenes.file_tables import (
    MAX_HEADER_BYTES,
    FileField,
    NamedTable,
    read_packed,
    read_text_rows,
)
from bevdiag.scenes.point_layout import check_batch

_KINDS = {"F": "f", "I": "i", "U": "u"}
_SIZES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
_PADDING = "_"
_SIZES_BYTES = 8
_LITERALS = 32
"""Control bytes below this one announce a run of literal bytes, all others a repetition."""
_LONG = 7


def read_pcd(path: Path) -> NamedTable:
    """Read a .pcd file, padding left out.

    Raises:
        InputError: the header is malformed, or the data is damaged or cut short.
    """
    header, body = _split(path.read_bytes())
    encoding = header["DATA"][0].lower()
    if encoding not in ("ascii", "binary", "binary_compressed"):
        raise InputError(
            f"DATA {encoding!r} is unknown: expected ascii, binary or binary_compressed"
        )
    try:
        num_points = int(header["POINTS"][0])
        if num_points < 0:
            raise ValueError(f"POINTS {num_points}")
        columns = _columns(header)
    except ValueError as error:
        raise InputError(f"a number in the header is malformed ({error})") from error
    if encoding == "ascii":
        return read_text_rows(body, columns, num_points)
    if encoding == "binary":
        return read_packed(body, columns, num_points)
    return _compressed(body, columns, num_points)


def _compressed(body: bytes, columns: list[FileField], num_points: int) -> NamedTable:
    """Read the two sizes (compressed, then not) as uint32, and the columns after them."""
    check_batch(num_points, sum(column.count for column in columns))
    size = num_points * sum(column.count * int(column.dtype[2:]) for column in columns)
    packed = int.from_bytes(body[:4], "little")
    try:
        if len(body) < _SIZES_BYTES + packed:
            raise ValueError(f"{packed} bytes promised, {max(0, len(body) - _SIZES_BYTES)} there")
        data = _lzf_decompressed(body[_SIZES_BYTES : _SIZES_BYTES + packed], size)
    except ValueError as error:
        raise InputError(
            f"its binary_compressed data is damaged or cut short ({error}): save it again"
        ) from error
    return read_packed(data, columns, num_points, by_column=True)


def _split(data: bytes) -> tuple[dict[str, list[str]], bytes]:
    header: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in header:
        end = data.find(b"\n", start, MAX_HEADER_BYTES)
        if end < 0:
            raise InputError("has no DATA line: it is no PCD file or is cut short")
        key, *values = data[start:end].decode("ascii", "replace").split() or ["#"]
        if not key.startswith("#"):
            header[key.upper()] = values
        start = end + 1
    for key in ("FIELDS", "SIZE", "TYPE", "POINTS", "DATA"):
        if not header.get(key):
            raise InputError(f"the header has no {key}: it is no complete PCD file")
    return header, data[start:]


def _columns(header: dict[str, list[str]]) -> list[FileField]:
    names = header["FIELDS"]
    sizes = [int(size) for size in header["SIZE"]]
    counts = [int(count) for count in header.get("COUNT", ["1"] * len(names))]
    if not len(names) == len(sizes) == len(header["TYPE"]) == len(counts):
        raise InputError("FIELDS, SIZE, TYPE and COUNT differ in length: check the header")
    columns = []
    for name, size, kind, count in zip(names, sizes, header["TYPE"], counts, strict=True):
        if size not in _SIZES.get(kind, ()) or count < 1:
            raise InputError(
                f"field {name} has TYPE {kind} SIZE {size} COUNT {count}: expected a type "
                "F, I or U of 4 or 8 (I and U: 1, 2, 4 or 8) bytes, at least once"
            )
        columns.append(FileField("" if name == _PADDING else name, f"<{_KINDS[kind]}{size}", count))
    return columns


def _lzf_decompressed(data: bytes, size: int) -> bytes:
    """Decompress the `size` bytes that `data` holds.

    Raises:
        ValueError: the data is damaged or holds another number of bytes.
    """
    out = bytearray()
    at, end = 0, len(data)
    while at < end and len(out) <= size:
        control = data[at]
        at += 1
        if control < _LITERALS:
            run = data[at : at + control + 1]
            if len(run) <= control:
                raise ValueError("its last run is cut short")
            out += run
            at += control + 1
            continue
        length = control >> 5
        if at + (length == _LONG) >= end:
            raise ValueError("its last repetition is cut short")
        if length == _LONG:
            length += data[at]
            at += 1
        distance = ((control & 0x1F) << 8) + data[at] + 1
        at += 1
        length += 2
        start = len(out) - distance
        if start < 0:
            raise ValueError("a repetition starts before the data")
        # What is repeated may overlap with its own copy.
        piece = bytes(out[start : start + length])
        out += (piece * (length // len(piece) + 1))[:length]
    if len(out) != size:
        raise ValueError(f"{len(out)} or more bytes instead of {size}")
    return bytes(out)


_DTYPES = {
    name: dtype
    for dtype, names in {
        "i1": "char int8",
        "u1": "uchar uint8",
        "i2": "short int16",
        "u2": "ushort uint16",
        "i4": "int int32",
        "u4": "uint uint32",
        "f4": "float float32",
        "f8": "double float64",
    }.items()
    for name in names.split()
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
    lines, body = _read_header(path.read_bytes())
    encoding = next((line[1] for line in lines if line[0] == "format" and len(line) > 1), "")
    if encoding not in _BYTE_ORDERS:
        raise InputError(
            f"format {encoding[:_MOST_CHARACTERS] or 'line missing'!r} is not read: save "
            f"it as one of {', '.join(_BYTE_ORDERS)}"
        )
    num_points, columns = _vertices(lines, _BYTE_ORDERS[encoding])
    read = read_text_rows if encoding == "ascii" else read_packed
    return read(body, columns, num_points)


def _read_header(data: bytes) -> tuple[list[list[str]], bytes]:
    end = data.find(_END, 0, MAX_HEADER_BYTES)
    newline = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0 or newline < 0:
        raise InputError("has no PLY header: it is no PLY file or is cut short")
    text = data[:end].decode("ascii", "replace")
    return [words for line in text.splitlines() if (words := line.split())], data[newline + 1 :]


def _vertices(lines: list[list[str]], byte_order: str) -> tuple[int, list[FileField]]:
    elements = [i for i, line in enumerate(lines) if line[0] == "element"]
    if not elements or lines[elements[0]][1:2] != ["vertex"]:
        raise InputError("its first element is not vertex: save the points as the first element")
    vertex = lines[elements[0]]
    if len(vertex) != 3 or not vertex[2].isdigit() or len(vertex[2]) > _MOST_DIGITS:
        said = " ".join(vertex)[:_MOST_CHARACTERS]
        raise InputError(f"{said!r} does not say how many vertices follow")
    end = elements[1] if len(elements) > 1 else len(lines)
    columns = []
    for line in lines[elements[0] + 1 : end]:
        if line[0] != "property":
            continue
        if len(line) != 3 or line[1] not in _DTYPES:
            said = " ".join(line[1:])[:_MOST_CHARACTERS]
            raise InputError(
                f"vertex property {said!r} is not read: points hold single numbers only"
            )
        columns.append(FileField(line[2], byte_order + _DTYPES[line[1]]))
    return int(vertex[2]), columns
