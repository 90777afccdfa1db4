"""`bevdiag compare` as a page."""

from typing import Any

from bevdiag import __version__
from bevdiag.prediction.variants import CompareReport, Variant
from bevdiag.report.amounts import bytes_if_known, count_if_known, difference_if_known
from bevdiag.report.html.document import render_page
from bevdiag.report.html.findings import VERDICT_KINDS, shown_findings, shown_rules
from bevdiag.report.text.assumed import scene_entries, target_entries
from bevdiag.report.text.compare_report import variant_label
from bevdiag.report.text.prose import VERDICT_WORDS


def compare_page(report: CompareReport) -> str:
    """Render the report as one HTML document."""
    highest = max((variant.high_bytes or 0 for variant in report.variants), default=0) or 1
    return render_page(
        "compare.html",
        (),
        report=report,
        version=__version__,
        variants=[_variant(variant, report, highest) for variant in report.variants],
        findings=shown_findings(report.findings),
        rules=shown_rules(report.findings, ()),
        assumed=[*target_entries(report.target), *scene_entries(report.scene)],
    )


def _variant(variant: Variant, report: CompareReport, highest_bytes: int) -> dict[str, Any]:
    return {
        "label": variant_label(variant, report),
        "error": variant.error,
        "peak": bytes_if_known(variant.peak_allocated_bytes),
        "share": (variant.peak_allocated_bytes or 0) / highest_bytes,
        "high": (variant.high_bytes or 0) / highest_bytes,
        "difference": difference_if_known(variant.difference_bytes),
        "reserved": bytes_if_known(variant.reserved_bytes),
        "bev_channels": count_if_known(variant.bev_channels),
        "params": count_if_known(variant.params),
        "kind": VERDICT_KINDS[variant.verdict],
        "verdict": VERDICT_WORDS[variant.verdict][0],
        "fits": ", ".join(variant.fits) or "no GPU of the catalogue",
    }
