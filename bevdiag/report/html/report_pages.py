"""Results of `bevdiag inspect` and `bevdiag compare` as pages."""

from collections.abc import Iterable
from typing import Any

from bevdiag import __version__
from bevdiag.prediction.result import CompareReport, ConfigReport, Prediction
from bevdiag.report.html.remedy_chart import flops_per_sample, remedy_chart
from bevdiag.report.html.template import render_page
from bevdiag.report.html.timeline_data import timeline_data
from bevdiag.report.text.assumed import assumed_entries, scene_entries, target_entries
from bevdiag.report.text.compare_report import variant_label
from bevdiag.report.text.headline import stop_sentence, verdict_sentence, way_out
from bevdiag.report.text.peak import tensor_text
from bevdiag.report.text.remedies import singles_first
from bevdiag.rules.codes import CODES
from bevdiag.rules.finding import Finding, worst_first
from bevdiag.rules.pages import rule_page


def inspect_page(report: Prediction, *, whole: bool = True) -> str:
    """Render the report as one HTML document; its first screen alone where that is not `whole`.

    The timeline needs `report.blocks`, which an inspection fills where it was asked for them.
    """
    return _page(
        "inspect.html",
        report,
        report.silenced,
        ("timeline.js", "layers.js"),
        whole=whole,
        headline=verdict_sentence(report),
        stop=stop_sentence(report.oom, report.verdict) if report.oom is not None else "",
        way_out=way_out(report),
        timeline=timeline_data(report.blocks, report.timeline, report.target.capacity_bytes),
        remedies=singles_first(report.remedies),
        flops=flops_per_sample(report),
        chart=remedy_chart(report),
        assumed=assumed_entries(report),
        tensor_text=tensor_text,
    )


def page_of(report: object) -> str:
    """Render the report of an inspection or a comparison as one HTML document."""
    if isinstance(report, CompareReport):
        return _page(
            "compare.html",
            report,
            assumed=[*target_entries(report.target), *scene_entries(report.scene)],
            variant_label=variant_label,
        )
    if isinstance(report, ConfigReport):
        return _page("config.html", report, report.silenced)
    assert isinstance(report, Prediction)
    return inspect_page(report)


def _page(
    template: str,
    report: Prediction | ConfigReport | CompareReport,
    silenced: Iterable[Finding] = (),
    scripts: tuple[str, ...] = (),
    **values: Any,
) -> str:
    """Render a page; the rules that speak on it are explained there, as it needs no network."""
    codes = {finding.code for finding in (*report.findings, *silenced)}
    return render_page(
        template,
        scripts,
        report=report,
        version=__version__,
        findings=worst_first(report.findings),
        silenced=silenced,
        rules=[rule_page(code) for code in sorted(codes & CODES.keys())],
        **values,
    )
