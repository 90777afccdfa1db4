"""Numbers as people read them; the one place where bytes become text.

Where a number may be missing, `UNKNOWN` stands for it.
"""

from bevdiag.memory.sizes import apart

UNKNOWN = "-"

_UNITS = (("B", 1, 0), ("KiB", 2**10, 1), ("MiB", 2**20, 1))


def format_bytes(nbytes: int | None, more_digits: int = 0) -> str:
    """Binary units: ``75.10 GiB``, ``8.5 MiB``, ``1.0 KiB``, ``512 B``.

    A value that would round to 1024 of a unit is shown as 1 of the next.
    """
    if nbytes is None:
        return UNKNOWN
    for unit, scale, digits in _UNITS:
        if round(abs(nbytes) / scale, digits) < 1024:
            return f"{nbytes / scale:.{digits + more_digits if digits else 0}f} {unit}"
    return f"{nbytes / 2**30:,.{2 + more_digits}f} GiB"


def format_apart(*amounts: int) -> list[str]:
    """Like `format_bytes`, with more digits where amounts that differ would read alike."""
    return apart(*amounts, write=format_bytes)


def format_difference(nbytes: int | None) -> str:
    """Like `format_bytes`, with its sign: ``+1.00 GiB``; ``0 B`` where nothing changes."""
    return f"+{format_bytes(nbytes)}" if nbytes and nbytes > 0 else format_bytes(nbytes)


def format_count(count: int | None) -> str:
    """With thousands separators: ``25,804,800``."""
    return UNKNOWN if count is None else f"{count:,}"


def format_flops(flops: int) -> str:
    """Floating point operations in decimal units: ``19.42 TFLOP``, ``3.4 MFLOP``."""
    for unit, scale in (("TFLOP", 10**12), ("GFLOP", 10**9), ("MFLOP", 10**6)):
        if flops >= scale:
            return f"{flops / scale:,.2f} {unit}"
    return f"{flops:,} FLOP"


def format_share(part: int, whole: int) -> str:
    """Percentage with one decimal: ``11.3 %``; empty where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def format_shape(shape: tuple[int, ...] | None) -> str:
    """``1x22400x202x502``; ``scalar`` without dimensions, ``-`` where no shape is known."""
    if shape is None:
        return UNKNOWN
    return "x".join(str(size) for size in shape) or "scalar"


def format_error(predicted: int | None, measured: int | None) -> str:
    """How far a prediction lies from what was measured, in percent of the latter."""
    if predicted is None or not measured:
        return UNKNOWN
    percent = round(100 * (predicted - measured) / measured, 1)
    return f"{percent + 0.0:+.1f} %"  # no zero has a minus
