"""Sizes as people write them, and as PyTorch does."""

import re
from collections.abc import Callable

from bevdiag.errors import InputError

_UNITS = {"": 1, "B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt]?)b?|([kmgt])ib?)\s*", re.IGNORECASE | re.ASCII)
_MAX_DIGITS = 18
_LEAST_PLAIN_BYTES = 2**20
"""A smaller number without a unit is meant in GiB or MiB, and nobody can tell in which."""


def parse_bytes(text: str | int) -> int:
    """Return the bytes of a size such as `22GiB`, `22 GB`, `24000 MiB`, `8g` or `1073741824`.

    GiB is 2^30 and GB is 10^9, as elsewhere; a fraction of a byte is dropped.

    Raises:
        InputError: the text is no positive size, or a small number without a unit.
    """
    match = _SIZE.fullmatch(str(text))
    if isinstance(text, bool) or match is None or len(match[1]) > _MAX_DIGITS:
        raise InputError(f"{text!r} is no size: write it like 22GiB, 24000MiB or 23622320128")
    number, decimal, binary = match.groups()
    unit = _BINARY_UNITS[binary.upper()] if binary else _UNITS[(decimal or "").upper()]
    whole, _, fraction = number.partition(".")
    size = int(whole + fraction) * unit // int(10 ** len(fraction))
    has_unit = not isinstance(text, str) or not text.strip().replace(".", "").isdigit()
    if 0 < size < _LEAST_PLAIN_BYTES and not has_unit:
        raise InputError(f"{text!r} has no unit: write it like {number}GiB")
    if size <= 0:
        raise InputError(f"{text!r} is no size: it must be more than 0 bytes")
    return size


def format_size(nbytes: int, more_digits: int = 0) -> str:
    """Return a size as `c10::CachingDeviceAllocator`'s messages write it, two decimals."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if nbytes > unit:
            return f"{nbytes / unit:.{2 + more_digits}f} {name}"
    return f"{nbytes} bytes"


def apart(*sizes: int, write: Callable[[int, int], str] = format_size) -> list[str]:
    """Write sizes that are compared, with more digits where different ones would read alike."""
    texts: list[str] = []
    for more_digits in range(8):  # nine decimals of a GiB tell one byte
        texts = [write(size, more_digits) for size in sizes]
        if len(set(texts)) == len(set(sizes)):
            break
    return texts
