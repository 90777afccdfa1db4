"""`bevdiag fit` as text: the answer, and the curve that it was read from."""

from rich.text import Text

from bevdiag.remedies.results import FitPoint, FitReport
from bevdiag.report.amounts import format_bytes, format_count
from bevdiag.report.layout import Layout
from bevdiag.report.text.assumed import setting_lines
from bevdiag.report.text.prose import VERDICT_WORDS, budget_name, heading, paragraph, render_lines

_AXIS = 12
_FIGURES = 34


def answer(report: FitReport) -> str:
    """Say the largest value that fits, and whether it matters, in a few sentences."""
    where = budget_name(report.target)
    now = f"the config has {format_count(report.now)}"
    if report.largest is None:
        failed = next((point.error for point in report.points if point.error), "")
        reason = f" It could not be traced: {failed}." if failed else ""
        return f"Not even 1 of {report.unit} fits {where}; {now}.{reason}"
    largest = format_count(report.largest)
    if not report.is_binding:
        return (
            f"Any number of {report.unit} fits {where}: this scene has {largest} at most, so a "
            f"larger cap changes nothing; {now}."
        )
    over = min((p.value for p in report.points if p.value > report.largest), default=None)
    above = f", {format_count(over)} no longer" if over is not None else ""
    return f"Up to {largest} {report.unit} fit {where}{above}; {now}."


def render_fit(report: FitReport, layout: Layout) -> str:
    """Answer, curve, and what they take for granted."""
    lines = paragraph(answer(report), layout, style="bold")
    lines += heading(f"Memory over {report.unit}", layout)
    highest = max((point.high_bytes or 0 for point in report.points), default=0)
    scale = max(highest, report.target.capacity_bytes or 0, 1)
    for point in report.points:
        lines += _bar(point, report, scale, layout)
    full, open_ = _glyphs(layout)
    note = (
        f"{full} allocated peak, {open_} up to its upper end, | what is usable; the verdict is of "
        "what must be reserved for it. Every row was traced."
    )
    lines += paragraph(note, layout, indent=2, style="dim")
    lines += setting_lines(report.target, report.scene, layout)
    return render_lines(lines, layout)


def _glyphs(layout: Layout) -> tuple[str, str]:
    return ("\u2588", "\u2591") if layout.unicode else ("#", "-")


def _bar(point: FitPoint, report: FitReport, scale: int, layout: Layout) -> list[Text]:
    word, style = VERDICT_WORDS[point.verdict]
    value = f"{format_count(point.value):>{_AXIS - 2}}  "
    if point.peak_allocated_bytes is None or point.high_bytes is None:
        return [Text(value), *paragraph(point.error, layout, indent=_AXIS, style="red")]
    width = layout.width - _AXIS - _FIGURES - 1
    full, open_ = _glyphs(layout)
    solid = width * point.peak_allocated_bytes // scale
    reach = width * point.high_bytes // scale
    bar = list((full * solid + open_ * (reach - solid)).ljust(width + 1))
    if report.target.capacity_bytes is not None:
        bar[width * report.target.capacity_bytes // scale] = "|"
    figures = f"{format_bytes(point.peak_allocated_bytes):>10} {format_bytes(point.high_bytes):>10}"
    return [Text.assemble((value, "bold"), ("".join(bar), style), figures, " ", (word, style))]
