"""Memory over one step as a chart of block characters."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from rich.text import Text

from bevdiag.prediction.result import Prediction, TimelinePoint
from bevdiag.report.amounts import format_bytes
from bevdiag.report.text.prose import Page
from bevdiag.report.timeline import phase_stretches, reduce_stretch

_ROWS_PER_TICK = 2
_TICKS = 5
_GIB = 2**30
_PHASE_STYLES = {"forward": "cyan", "backward": "magenta", "optimizer": "yellow"}


@dataclass(frozen=True, slots=True)
class _Glyphs:
    levels: str
    reserved: str
    capacity: str
    axis: str
    tick: str
    corner: str
    base: str
    joint: str


_UNICODE = _Glyphs(
    " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588",
    "\u00b7", "\u254c", "\u2502", "\u2524", "\u253c", "\u2500", "\u252c",
)  # fmt: skip
_ASCII = _Glyphs(" .:#", "'", "-", "|", "+", "+", "-", "+")


def write_chart(page: Page, report: Prediction) -> None:
    """Write the section "Memory over the step"; nothing without a timeline."""
    if report.timeline:
        page.heading("Memory over the step")
        draw_chart(page, report)
        page.note(_caption(report, _glyphs_of(page)))


def draw_chart(page: Page, report: Prediction, ticks: int = _TICKS) -> None:
    """Draw the picture alone, `ticks` labels high, of a report with a timeline."""
    axis_width = 9
    bars = _columns(report.timeline, page.layout.width - axis_width - 1)
    glyphs = _glyphs_of(page)
    capacity = report.target.capacity_bytes
    tick = _tick_bytes(max(bar.reserved_bytes for bar in bars), capacity, ticks)
    in_view = capacity if (capacity or 0) < tick * ticks else None
    page.lines += _plot(bars, tick, ticks, in_view, glyphs) + _base(bars, glyphs)


def _glyphs_of(page: Page) -> _Glyphs:
    return _UNICODE if page.layout.unicode else _ASCII


def _columns(points: Sequence[TimelinePoint], width: int) -> list[TimelinePoint]:
    # A phase gets columns by its number of points, and enough of them to write its name below.
    stretches = phase_stretches(points)
    least = [min(len(phase) + 2, width // len(stretches)) for phase, _ in stretches]
    free = width - sum(least)
    bars: list[TimelinePoint] = []
    for (_, group), minimum in zip(stretches, least, strict=True):
        share = minimum + free * len(group) // len(points)
        bars += reduce_stretch(group, max(1, share))
    return bars


def _tick_bytes(highest: int, capacity: int | None, ticks: int) -> float:
    # A budget close above the curve belongs in the picture; a far one would flatten it.
    if capacity is not None and highest < capacity <= 1.5 * highest:
        highest = capacity
    raw = max(highest, 1) / _GIB / ticks
    magnitude = 10.0 ** floor(log10(raw))
    nice = next(step for step in (1, 2, 2.5, 3, 4, 5, 10) if raw <= step * magnitude * (1 + 1e-9))
    return nice * magnitude * _GIB


def _plot(
    bars: Sequence[TimelinePoint], tick: float, ticks: int, capacity: int | None, glyphs: _Glyphs
) -> list[Text]:
    row_bytes = tick / _ROWS_PER_TICK
    lines = []
    for row in range(_ROWS_PER_TICK * ticks, 0, -1):
        low, high = (row - 1) * row_bytes, row * row_bytes
        is_tick = row % _ROWS_PER_TICK == 0
        line = Text(_tick_label(high, tick) if is_tick else " " * 8, style="dim")
        line.append(glyphs.tick if is_tick else glyphs.axis, style="dim")
        budget_here = capacity is not None and low < capacity <= high
        for bar in bars:
            line.append(*_glyph(bar, low, high, budget_here, glyphs))
        line.rstrip()
        lines.append(line)
    return lines


def _glyph(
    bar: TimelinePoint, low: float, high: float, budget_here: bool, glyphs: _Glyphs
) -> tuple[str, str]:
    top = len(glyphs.levels) - 1
    filled = (bar.allocated_bytes - low) / (high - low)
    level = min(top, max(0, ceil(filled * top - 1e-9)))
    if level:
        return glyphs.levels[level], _PHASE_STYLES.get(bar.phase, "")
    if budget_here:
        return glyphs.capacity, "red"
    if low < bar.reserved_bytes <= high:
        return glyphs.reserved, "dim"
    return " ", ""


def _tick_label(value: float, tick: float) -> str:
    digits = max(0, ceil(-log10(tick / _GIB) - 1e-9))
    if round(tick / _GIB, digits) != round(tick / _GIB, digits + 1):
        digits += 1
    return f"{value / _GIB:7.{digits}f} "


def _base(bars: Sequence[TimelinePoint], glyphs: _Glyphs) -> list[Text]:
    axis = Text(f"{0:7d} {glyphs.corner}", style="dim")
    names = Text(" " * 9)
    for number, (phase, group) in enumerate(phase_stretches(bars)):
        width = len(group)
        axis.append((glyphs.joint if number else glyphs.base) + glyphs.base * (width - 1))
        names.append(phase[:width].ljust(width), style=_PHASE_STYLES.get(phase, ""))
    names.rstrip()
    return [axis, names]


def _caption(report: Prediction, glyphs: _Glyphs) -> str:
    capacity = report.target.capacity_bytes
    budget = (
        f"; {glyphs.capacity * 2} {format_bytes(capacity)} usable" if capacity is not None else ""
    )
    return (
        f"GiB over the events of one step after the first: {glyphs.levels[-1]} allocated, "
        f"{glyphs.reserved} reserved{budget}."
    )
