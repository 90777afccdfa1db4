"""The highest moment of the step and everything alive at it."""

from bevdiag.memory.events import Category
from bevdiag.prediction.result import Holder, Peak, Prediction
from bevdiag.report.amounts import format_apart, format_bytes, format_shape, format_share
from bevdiag.report.text.prose import Page
from bevdiag.report.text.table import Row, cell

TOP_HOLDERS = 12
_BAR_WIDTH = 30
_CATEGORIES = "alive at the peak | size> | share> | "
_WIDE = "size> | share> | category | module~ | op~ | tensor"
_NARROW = "size> | share> | category | module, then op and tensor~"


def write_peak(page: Page, report: Prediction) -> None:
    """Write where and how high the peak is, its sums by category, and its largest holders."""
    page.heading("Peak")
    page.labelled(_entries(report), column=12)
    page.line()
    _write_categories(page, report.peak)
    if report.peak.holders:
        page.line()
        _write_holders(page, report.peak)


def _entries(report: Prediction) -> list[tuple[str, str]]:
    peak = report.peak
    doing = f", {peak.op}" if peak.op else ""
    first = format_bytes(report.first_step.peak_allocated_bytes)
    reserved, most = format_apart(peak.reserved_bytes, peak.high_reserved_bytes)
    if most != reserved:
        reserved += f", at most {most}"
    allocated = format_bytes(peak.allocated_bytes)
    if peak.low_bytes != peak.high_bytes:
        allocated += f", {between(peak)}"
    by_phase = ", ".join(
        f"{phase} {format_bytes(use.peak_allocated_bytes)}" for phase, use in report.phases.items()
    )
    return [
        ("Where", f"{peak.phase}, in {peak.module or 'the training step itself'}{doing}"),
        ("Allocated", f"{allocated} (as torch.cuda.max_memory_allocated counts)"),
        ("Reserved", f"{reserved} (held from CUDA by the caching allocator)"),
        ("By phase", by_phase),
        ("First step", f"{first} allocated at its peak"),
    ]


def between(peak: Peak) -> str:
    """Name the ends of the peak."""
    return "between {} and {}".format(*format_apart(peak.low_bytes, peak.high_bytes))


def _write_categories(page: Page, peak: Peak) -> None:
    total = peak.allocated_bytes
    block = "\u2588" if page.layout.unicode else "#"
    sums = sorted(peak.by_category.items(), key=lambda item: (-item[1], item[0]))
    rows: list[Row] = [
        [
            category,
            format_bytes(nbytes),
            format_share(nbytes, total),
            cell(block * round(_BAR_WIDTH * nbytes / total) if total else "", "cyan"),
        ]
        for category, nbytes in sums
        if nbytes
    ]
    page.table(_CATEGORIES, rows)


def largest_holders(peak: Peak) -> list[Holder]:
    """Return what is alive at the peak, the largest first."""
    return sorted(peak.holders, key=lambda holder: (-holder.nbytes, holder.module, holder.op))


def _write_holders(page: Page, peak: Peak) -> None:
    holders = largest_holders(peak)
    shown, rest = holders[:TOP_HOLDERS], holders[TOP_HOLDERS:]
    narrow = [
        [
            format_bytes(holder.nbytes),
            format_share(holder.nbytes, peak.allocated_bytes),
            holder.category,
            holder.module or "-",
        ]
        for holder in shown
    ]
    wide = [[*row, one.op, tensor_text(one)] for one, row in zip(shown, narrow, strict=True)]
    if not page.table_if_room(_WIDE, wide):
        begun = len(page.lines)
        for holder in page.rows(_NARROW, narrow, shown):
            # The op and tensor stand below the module: as far in as the last column starts.
            start = page.lines[begun].plain.index("module")
            text = f"{holder.op}  {tensor_text(holder)}".strip()
            page.paragraph(text, indent=start, style="dim")
    if rest:
        left = format_bytes(sum(holder.nbytes for holder in rest))
        page.note(f"and {len(rest)} more, {left} together")


def tensor_text(holder: Holder) -> str:
    """How many alike, of which shape and type; a workspace is plain bytes and has neither."""
    times = f"{holder.count} times " if holder.count > 1 else ""
    if not holder.shape and holder.category == Category.WORKSPACE:
        return times.strip()
    shape = f"{format_shape(holder.shape)} " if holder.shape else ""
    return f"{times}{shape}{holder.dtype}".strip()
