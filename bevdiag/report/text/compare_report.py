"""`bevdiag compare` as text."""

from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.result import CompareReport, Variant
from bevdiag.report.amounts import format_bytes, format_count, format_difference
from bevdiag.report.text.assumed import write_assumptions, write_settings
from bevdiag.report.text.findings import write_findings
from bevdiag.report.text.prose import VERDICT_WORDS, Page
from bevdiag.report.text.table import Row, cell

_COLUMNS = "variant~ | BEV> | parameters> | peak> | difference> | reserved> | at most>1"


def write_compare(page: Page, report: CompareReport) -> None:
    """Write the table of variants; below each its largest request and the GPUs that it fits."""
    page.paragraph(report.config, style="dim")
    page.heading("Variants")
    rows: list[Row] = [
        [
            cell(variant_label(variant, report), "bold"),
            format_count(variant.bev_channels),
            format_count(variant.params),
            format_bytes(variant.peak_allocated_bytes),
            format_difference(variant.difference_bytes),
            format_bytes(variant.reserved_bytes),
            format_bytes(variant.high_bytes),
        ]
        for variant in report.variants
    ]
    for variant in page.rows(_COLUMNS, rows, report.variants):
        _write_details(page, variant, report.target)
    page.note(
        "peak: allocated in a step after the first; difference: to the first row; BEV: channels "
        "of the BEV map; GPUs are named where the upper end of the step fits."
    )
    write_settings(page, report.target, report.scene)
    write_assumptions(page, report.assumptions)
    write_findings(page, report.findings)


def variant_label(variant: Variant, report: CompareReport) -> str:
    """Name a variant by its compression, and by what else tells it from its neighbours."""
    batches = {other.batch_size for other in report.variants}
    batch = f", batch {variant.batch_size}" if len(batches) > 1 else ""
    autocast = f", {variant.autocast}" if variant.autocast != "off" else ""
    return f"{variant.compression}{batch}{autocast}"


def _write_details(page: Page, variant: Variant, target: DeviceTarget) -> None:
    if variant.error:
        page.paragraph(f"could not be traced: {variant.error}", indent=4, style="red")
        return
    entries = []
    if variant.largest_request_bytes is not None:
        where = f" in {variant.largest_request_module}" if variant.largest_request_module else ""
        entries.append(("largest request", f"{format_bytes(variant.largest_request_bytes)}{where}"))
    if target.capacity_bytes is not None:
        verdict = VERDICT_WORDS[variant.verdict][0]
        entries.append(("verdict", f"{verdict} ({target.gpu or 'the budget'})"))
    entries.append(("fits", ", ".join(variant.fitting) or "no GPU of the catalogue"))
    page.labelled(entries, indent=4, column=17)
