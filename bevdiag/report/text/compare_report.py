"""`bevdiag compare` as text."""

from rich.text import Text

from bevdiag.prediction.result import Target
from bevdiag.prediction.variants import CompareReport, Variant
from bevdiag.report.amounts import (
    bytes_if_known,
    count_if_known,
    difference_if_known,
    format_bytes,
)
from bevdiag.report.layout import Layout
from bevdiag.report.text.assumed import assumption_lines, setting_lines
from bevdiag.report.text.findings import finding_lines
from bevdiag.report.text.prose import VERDICT_WORDS, heading, labelled, paragraph
from bevdiag.report.text.render import render_lines
from bevdiag.report.text.table import Column, cell, lay_out

_COLUMNS = [
    Column("variant", folds=True),
    Column("BEV", right=True),
    Column("parameters", right=True),
    Column("peak", right=True),
    Column("difference", right=True),
    Column("reserved", right=True),
    Column("at most", right=True, spare=1),
]


def render_compare(report: CompareReport, layout: Layout) -> str:
    """Write the table of variants; below each its largest request and the GPUs that it fits."""
    lines = paragraph(report.config, layout, style="dim")
    lines += heading("Variants", layout)
    rows = [
        [cell(variant_label(variant, report), "bold"), *_figures(variant)]
        for variant in report.variants
    ]
    table = lay_out(_COLUMNS, rows, layout.width, indent=2)
    lines.append(table.header)
    for variant, row in zip(report.variants, table.rows, strict=True):
        lines += [*row, *_detail_lines(variant, report.target, layout)]
    note = (
        "peak: allocated in a step after the first; difference: to the first row; BEV: channels "
        "of the BEV map; GPUs are named where the upper end of the step fits."
    )
    lines += paragraph(note, layout, indent=2, style="dim")
    lines += setting_lines(report.target, report.scene, layout)
    lines += assumption_lines(report.assumptions, layout)
    return render_lines([*lines, *finding_lines(report.findings, layout)], layout)


def variant_label(variant: Variant, report: CompareReport) -> str:
    """Name a variant by its compression, and by what else tells it from its neighbours."""
    batches = {other.batch_size for other in report.variants}
    batch = f", batch {variant.batch_size}" if len(batches) > 1 else ""
    autocast = f", {variant.autocast}" if variant.autocast != "off" else ""
    return f"{variant.compression}{batch}{autocast}"


def _figures(variant: Variant) -> list[Text]:
    counts = (variant.bev_channels, variant.params)
    return [
        *(cell(count_if_known(count)) for count in counts),
        cell(bytes_if_known(variant.peak_allocated_bytes)),
        cell(difference_if_known(variant.difference_bytes)),
        cell(bytes_if_known(variant.reserved_bytes)),
        cell(bytes_if_known(variant.high_bytes)),
    ]


def _detail_lines(variant: Variant, target: Target, layout: Layout) -> list[Text]:
    if variant.error:
        return paragraph(f"could not be traced: {variant.error}", layout, indent=4, style="red")
    lines = []
    if variant.largest_request_bytes is not None:
        where = f" in {variant.largest_request_module}" if variant.largest_request_module else ""
        largest = f"{format_bytes(variant.largest_request_bytes)}{where}"
        lines += labelled("largest request", largest, layout, indent=4, column=17)
    if target.capacity_bytes is not None:
        budget = target.gpu or f"the budget of {format_bytes(target.capacity_bytes)}"
        verdict = f"{VERDICT_WORDS[variant.verdict][0]} ({budget})"
        lines += labelled("verdict", verdict, layout, indent=4, column=17)
    fits = ", ".join(variant.fits) or "no GPU of the catalogue"
    return lines + labelled("fits", fits, layout, indent=4, column=17)
