"""`bevdiag compare` as text."""

from rich.text import Text

from bevdiag.prediction.result import CompareReport, Target, Variant
from bevdiag.report.amounts import (
    bytes_if_known,
    count_if_known,
    difference_if_known,
    format_bytes,
)
from bevdiag.report.layout import Layout
from bevdiag.report.text.assumed import assumption_lines, setting_lines
from bevdiag.report.text.findings import finding_lines
from bevdiag.report.text.prose import (
    VERDICT_WORDS,
    heading,
    labelled_lines,
    paragraph,
    render_lines,
)
from bevdiag.report.text.table import Row, cell, columns, lay_out

_COLUMNS = columns("variant~ | BEV> | parameters> | peak> | difference> | reserved> | at most>1")


def render_compare(report: CompareReport, layout: Layout) -> str:
    """Write the table of variants; below each its largest request and the GPUs that it fits."""
    lines = paragraph(report.config, layout, style="dim")
    lines += heading("Variants", layout)
    rows: list[Row] = [
        [cell(variant_label(variant, report), "bold"), *_figures(variant)]
        for variant in report.variants
    ]
    table = lay_out(_COLUMNS, rows, layout.width, indent=2)
    lines += table.lines(_detail_lines(item, report.target, layout) for item in report.variants)
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


def _figures(variant: Variant) -> list[str]:
    return [
        count_if_known(variant.bev_channels),
        count_if_known(variant.params),
        bytes_if_known(variant.peak_allocated_bytes),
        difference_if_known(variant.difference_bytes),
        bytes_if_known(variant.reserved_bytes),
        bytes_if_known(variant.high_bytes),
    ]


def _detail_lines(variant: Variant, target: Target, layout: Layout) -> list[Text]:
    if variant.error:
        return paragraph(f"could not be traced: {variant.error}", layout, indent=4, style="red")
    entries = []
    if variant.largest_request_bytes is not None:
        where = f" in {variant.largest_request_module}" if variant.largest_request_module else ""
        entries.append(("largest request", f"{format_bytes(variant.largest_request_bytes)}{where}"))
    if target.capacity_bytes is not None:
        budget = target.gpu or f"the budget of {format_bytes(target.capacity_bytes)}"
        entries.append(("verdict", f"{VERDICT_WORDS[variant.verdict][0]} ({budget})"))
    entries.append(("fits", ", ".join(variant.fits) or "no GPU of the catalogue"))
    return labelled_lines(entries, layout, indent=4, column=17)
