"""The highest moment of the step and everything alive at it."""

from rich.text import Text

from bevdiag.memory.events import Category
from bevdiag.prediction.result import Holder, Peak, Prediction
from bevdiag.report.amounts import format_bytes, format_shape, format_share
from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import heading, labelled_lines, paragraph
from bevdiag.report.text.table import Row, cell, columns, lay_out, natural_width

TOP_HOLDERS = 12
_BAR_WIDTH = 30
_CATEGORIES = columns("alive at the peak | size> | share> | ")
_WIDE = columns("size> | share> | category | module~ | op~ | tensor")
_NARROW = columns("size> | share> | category | module, then op and tensor~")


def peak_lines(report: Prediction, layout: Layout) -> list[Text]:
    """Where and how high the peak is, its sums by category, and its largest holders."""
    peak = report.peak
    lines = heading("Peak", layout)
    lines += labelled_lines(_entries(report), layout, column=12)
    lines += [Text(), *_category_lines(peak, layout)]
    if peak.holders:
        lines += [Text(), *_holder_lines(peak, layout)]
    return lines


def _entries(report: Prediction) -> list[tuple[str, str]]:
    peak = report.peak
    doing = f", {peak.op}" if peak.op else ""
    first = format_bytes(report.first_step.peak_allocated_bytes)
    reserved = format_bytes(peak.reserved_bytes)
    if peak.high_reserved_bytes != peak.reserved_bytes:
        reserved += f", at most {format_bytes(peak.high_reserved_bytes)}"
    allocated = format_bytes(peak.allocated_bytes)
    if peak.low_bytes != peak.high_bytes:
        allocated += f", between {format_bytes(peak.low_bytes)} and {format_bytes(peak.high_bytes)}"
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


def _category_lines(peak: Peak, layout: Layout) -> list[Text]:
    total = peak.allocated_bytes
    block = "\u2588" if layout.unicode else "#"
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
    return lay_out(_CATEGORIES, rows, layout.width, indent=2).lines()


def _holder_lines(peak: Peak, layout: Layout) -> list[Text]:
    holders = sorted(peak.holders, key=lambda holder: (-holder.nbytes, holder.module, holder.op))
    shown, rest = holders[:TOP_HOLDERS], holders[TOP_HOLDERS:]
    figures = [
        [
            format_bytes(holder.nbytes),
            format_share(holder.nbytes, peak.allocated_bytes),
            holder.category,
        ]
        for holder in shown
    ]
    rows = [
        [*row, holder.module or "-", holder.op, tensor_text(holder)]
        for holder, row in zip(shown, figures, strict=True)
    ]
    if natural_width(_WIDE, rows) + 2 <= layout.width:
        lines = lay_out(_WIDE, rows, layout.width, indent=2).lines()
    else:
        lines = _narrow_holder_lines(shown, figures, layout)
    if rest:
        left = format_bytes(sum(holder.nbytes for holder in rest))
        lines += paragraph(f"and {len(rest)} more, {left} together", layout, indent=2, style="dim")
    return lines


def _narrow_holder_lines(
    holders: list[Holder], figures: list[list[str]], layout: Layout
) -> list[Text]:
    rows = [[*row, holder.module or "-"] for holder, row in zip(holders, figures, strict=True)]
    table = lay_out(_NARROW, rows, layout.width, indent=2)
    # The op and tensor stand below the module: as far in as the last column starts.
    start = table.header.plain.index(_NARROW[-1].header[:6])
    details = (f"{holder.op}  {tensor_text(holder)}".strip() for holder in holders)
    return table.lines(paragraph(text, layout, indent=start, style="dim") for text in details)


def tensor_text(holder: Holder) -> str:
    """How many alike, of which shape and type; a workspace is plain bytes and has neither."""
    times = f"{holder.count} times " if holder.count > 1 else ""
    if not holder.shape and holder.category == Category.WORKSPACE:
        return times.strip()
    shape = f"{format_shape(holder.shape)} " if holder.shape else ""
    return f"{times}{shape}{holder.dtype}".strip()
