"""PCD, the Point Cloud Library's format (version 0.7): a text header, then the points.

They follow as ascii lines, as packed rows (binary), or column by column under LZF
(binary_compressed).
"""

from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.scenes.layout import check_batch
from bevdiag.scenes.table import (
    MAX_HEADER_BYTES,
    Column,
    NamedTable,
    read_packed_columns,
    read_packed_rows,
    read_text_rows,
)

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
    header, body = _split(path, path.read_bytes())
    encoding = header["DATA"][0].lower()
    if encoding not in ("ascii", "binary", "binary_compressed"):
        raise InputError(
            f"{path}: DATA {encoding!r} is unknown: expected ascii, binary or binary_compressed"
        )
    try:
        num_points = int(header["POINTS"][0])
        if num_points < 0:
            raise ValueError(f"POINTS {num_points}")
        columns = _columns(path, header)
    except ValueError as error:
        raise InputError(f"{path}: a number in the header is malformed ({error})") from error
    if encoding == "ascii":
        return read_text_rows(path, body, columns, num_points)
    if encoding == "binary":
        return read_packed_rows(path, body, columns, num_points)
    return _compressed(path, body, columns, num_points)


def _compressed(path: Path, body: bytes, columns: list[Column], num_points: int) -> NamedTable:
    """Read the two sizes (compressed, then not) as uint32, and the columns after them."""
    check_batch(num_points, sum(column.count for column in columns))
    size = num_points * sum(column.count * int(column.dtype[2:]) for column in columns)
    packed = int.from_bytes(body[:4], "little")
    try:
        if len(body) < _SIZES_BYTES + packed:
            raise ValueError(f"{packed} bytes promised, {max(0, len(body) - _SIZES_BYTES)} there")
        data = _lzf_decompressed(body[_SIZES_BYTES : _SIZES_BYTES + packed], size)
        return read_packed_columns(path, data, columns, num_points)
    except ValueError as error:
        raise InputError(
            f"{path}: its binary_compressed data is damaged or cut short ({error}): save it again"
        ) from error


def _split(path: Path, data: bytes) -> tuple[dict[str, list[str]], bytes]:
    header: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in header:
        end = data.find(b"\n", start, MAX_HEADER_BYTES)
        if end < 0:
            raise InputError(f"{path}: has no DATA line: it is no PCD file or is cut short")
        key, *values = data[start:end].decode("ascii", "replace").split() or ["#"]
        if not key.startswith("#"):
            header[key.upper()] = values
        start = end + 1
    for key in ("FIELDS", "SIZE", "TYPE", "POINTS", "DATA"):
        if not header.get(key):
            raise InputError(f"{path}: the header has no {key}: it is no complete PCD file")
    return header, data[start:]


def _columns(path: Path, header: dict[str, list[str]]) -> list[Column]:
    names = header["FIELDS"]
    sizes = [int(size) for size in header["SIZE"]]
    counts = [int(count) for count in header.get("COUNT", ["1"] * len(names))]
    if not len(names) == len(sizes) == len(header["TYPE"]) == len(counts):
        raise InputError(f"{path}: FIELDS, SIZE, TYPE and COUNT differ in length: check the header")
    columns = []
    for name, size, kind, count in zip(names, sizes, header["TYPE"], counts, strict=True):
        if size not in _SIZES.get(kind, ()) or count < 1:
            raise InputError(
                f"{path}: field {name} has TYPE {kind} SIZE {size} COUNT {count}: expected a type "
                "F, I or U of 4 or 8 (I and U: 1, 2, 4 or 8) bytes, at least once"
            )
        columns.append(Column("" if name == _PADDING else name, f"<{_KINDS[kind]}{size}", count))
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
