"""LZF, the compression of binary_compressed .pcd files."""

_LITERALS = 32
"""Control bytes below this one announce a run of literal bytes, all others a repetition."""
_LONG = 7


def lzf_decompressed(data: bytes, size: int) -> bytes:
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
