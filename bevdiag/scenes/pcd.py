"""PCD, the Point Cloud Library's format (version 0.7): a text header, then ascii or binary rows."""

from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.scenes.table import MAX_HEADER_BYTES, Column, Table, read_rows

_KINDS = {"F": "f", "I": "i", "U": "u"}
_SIZES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
_PADDING = "_"


def read_pcd(path: Path) -> Table:
    """Read a .pcd file: [N, columns], x, y and z first, padding left out.

    Raises:
        InputError: the header is malformed, or the data is compressed or cut short.
    """
    header, body = _split(path, path.read_bytes())
    encoding = header["DATA"][0].lower()
    if encoding == "binary_compressed":
        raise InputError(
            f"{path}: its data is binary_compressed, which bevdiag does not read: convert it with "
            "pcl_convert_pcd_ascii_binary to binary (1)"
        )
    if encoding not in ("ascii", "binary"):
        raise InputError(f"{path}: DATA {encoding!r} is unknown: expected ascii or binary")
    try:
        num_points = int(header["POINTS"][0])
        if num_points < 0:
            raise ValueError(f"POINTS {num_points}")
        columns = _columns(path, header)
    except ValueError as error:
        raise InputError(f"{path}: a number in the header is malformed ({error})") from error
    return read_rows(path, body, columns, num_points, ascii_text=encoding == "ascii")


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
