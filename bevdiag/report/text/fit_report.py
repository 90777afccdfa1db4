"""`bevdiag fit` as text: the answer, and the curve that it was read from."""

from bevdiag.remedies.results import FitPoint, FitReport
from bevdiag.report.amounts import format_bytes, format_count
from bevdiag.report.text.assumed import write_settings
from bevdiag.report.text.prose import VERDICT_WORDS, Page, budget_name

_AXIS = 12
_FIGURES = 34


def answer(report: FitReport) -> str:
    """Say the largest value that fits, and whether it matters, in a few sentences."""
    where = budget_name(report.target)
    now = f"the config has {format_count(report.now)}"
    if report.largest is None:
        failed = next((point.error for point in report.points if point.error), "")
        reason = f" It could not be traced: {failed}." if failed else ""
        return f"Not even one fits {where}, of {report.unit}; {now}.{reason}"
    largest = format_count(report.largest)
    if not report.is_binding:
        return (
            f"Any number of {report.unit} fits {where}: the densest scene has {largest} at most, "
            f"so a larger cap changes nothing; {now}."
        )
    over = min((p.value for p in report.points if p.value > report.largest), default=None)
    above = f", {format_count(over)} no longer" if over is not None else ", more was not tried"
    return f"Up to {largest} {report.unit} fit {where}{above}; {now}."


def write_fit(page: Page, report: FitReport) -> None:
    """Answer, curve, and what they take for granted."""
    page.paragraph(answer(report), style="bold")
    page.heading(f"Memory over {report.unit}")
    highest = max((point.high_bytes or 0 for point in report.points), default=0)
    scale = max(highest, report.target.capacity_bytes or 0, 1)
    full, open_ = ("\u2588", "\u2591") if page.layout.unicode else ("#", "-")
    for point in report.points:
        _write_bar(page, point, report, scale, full, open_)
    page.note(
        f"{full} allocated peak, {open_} up to its upper end, | what is usable; the verdict is of "
        "what must be reserved for it. Every row was traced."
    )
    write_settings(page, report.target, report.scene)


def _write_bar(
    page: Page, point: FitPoint, report: FitReport, scale: int, full: str, open_: str
) -> None:
    word, style = VERDICT_WORDS[point.verdict]
    value = f"{format_count(point.value):>{_AXIS - 2}}  "
    if point.peak_allocated_bytes is None or point.high_bytes is None:
        page.line(value)
        page.paragraph(point.error, indent=_AXIS, style="red")
        return
    width = page.layout.width - _AXIS - _FIGURES - 1
    solid = width * point.peak_allocated_bytes // scale
    reach = width * point.high_bytes // scale
    bar = list((full * solid + open_ * (reach - solid)).ljust(width + 1))
    if report.target.capacity_bytes is not None:
        bar[width * report.target.capacity_bytes // scale] = "|"
    figures = f"{format_bytes(point.peak_allocated_bytes):>10} {format_bytes(point.high_bytes):>10}"
    page.line((value, "bold"), ("".join(bar), style), figures, " ", (word, style))
