"""Results of `bevdiag inspect` and `bevdiag compare` as pages."""

from dataclasses import asdict
from typing import Any

from bevdiag import __version__
from bevdiag.prediction.result import CompareReport, ConfigReport, Layer, Plan, Prediction, Variant
from bevdiag.report.amounts import bytes_if_known, count_if_known, difference_if_known, format_count
from bevdiag.report.html.remedy_chart import flops_per_sample, remedy_chart
from bevdiag.report.html.shown_findings import (
    VERDICT_KINDS,
    shown_findings,
    shown_rules,
    shown_silenced,
)
from bevdiag.report.html.template import render_page
from bevdiag.report.html.timeline_data import timeline_data
from bevdiag.report.text.assumed import assumed_entries, scene_entries, target_entries
from bevdiag.report.text.compare_report import variant_label
from bevdiag.report.text.headline import stop_sentence, verdict_sentence, way_out
from bevdiag.report.text.peak import tensor_text
from bevdiag.report.text.prose import VERDICT_WORDS
from bevdiag.report.text.remedies import singles_first
from bevdiag.report.text.wiring_table import module_name
from bevdiag.trace.wiring import Wiring


def inspect_page(report: Prediction, *, whole: bool = True) -> str:
    """Render the report as one HTML document; its first screen alone where that is not `whole`.

    The timeline needs `report.blocks`, which an inspection fills where it was asked for them.
    """
    return render_page(
        "inspect.html",
        ("timeline.js", "layers.js"),
        whole=whole,
        report=report,
        version=__version__,
        headline=verdict_sentence(report),
        stop=stop_sentence(report.oom, report.verdict) if report.oom is not None else "",
        way_out=way_out(report),
        timeline=timeline_data(report.blocks, report.timeline, report.target.capacity_bytes),
        findings=shown_findings(report.findings),
        silenced=shown_silenced(report.silenced),
        rules=shown_rules(report.findings, report.silenced),
        remedies=_remedies(report),
        chart=remedy_chart(report),
        layers=_layers(report.layers),
        entries=_entries(report.wiring),
        gpus=_gpus(report),
        assumed=assumed_entries(report),
        tensor_text=tensor_text,
    )


def config_page(report: ConfigReport) -> str:
    """Render the findings of a config that was not traced, as one HTML document."""
    return render_page(
        "config.html",
        (),
        report=report,
        version=__version__,
        findings=shown_findings(report.findings),
        silenced=shown_silenced(report.silenced),
        rules=shown_rules(report.findings, report.silenced),
    )


def _remedies(report: Prediction) -> list[dict[str, Any]]:
    now = report.peak.reserved_bytes
    largest = max([now, *(remedy.reserved_bytes or 0 for remedy in report.remedies)]) or 1
    return [_remedy(remedy, report, largest) for remedy in singles_first(report.remedies)]


def _remedy(remedy: Plan, report: Prediction, largest_bytes: int) -> dict[str, Any]:
    reserved, now = remedy.reserved_bytes, flops_per_sample(report)
    return {
        "id": remedy.id,
        "title": remedy.title,
        "peak": bytes_if_known(remedy.peak_allocated_bytes),
        "reserved": bytes_if_known(reserved),
        "share": None if reserved is None else reserved / largest_bytes,
        "now": report.peak.reserved_bytes / largest_bytes,
        "compute": f"{100 * remedy.flops / now:.0f} %" if remedy.flops is not None and now else "-",
        "kind": "bad" if remedy.error else VERDICT_KINDS[remedy.verdict],
        "verdict": remedy.error or VERDICT_WORDS[remedy.verdict][0],
        "loses": "; ".join(part for part in (remedy.loses, *remedy.unsafe, *remedy.needs) if part),
    }


def _layers(layers: tuple[Layer, ...]) -> list[dict[str, Any]]:
    most = max((layer.saved_bytes for layer in layers), default=0) or 1
    return [
        asdict(layer) | {"channels": _channels(layer), "share": layer.saved_bytes / most}
        for layer in layers
    ]


def _channels(layer: Layer) -> str:
    if layer.in_channels is None and layer.out_channels is None:
        return ""
    return " > ".join("-" if n is None else str(n) for n in (layer.in_channels, layer.out_channels))


def _gpus(report: Prediction) -> list[dict[str, Any]]:
    need = report.peak.high_reserved_bytes
    largest = max([need, *(gpu.capacity_bytes for gpu in report.gpus)])
    return [
        {
            "name": gpu.gpu,
            "capacity_bytes": gpu.capacity_bytes,
            "share": gpu.capacity_bytes / largest,
            "need": need / largest,
            "kind": VERDICT_KINDS[gpu.verdict],
            "verdict": VERDICT_WORDS[gpu.verdict][0],
        }
        for gpu in report.gpus
    ]


def _entries(wiring: Wiring | None) -> list[dict[str, str]]:
    if wiring is None:
        return []
    return [
        {
            "key": entry.key,
            "channels": "" if entry.channels is None else format_count(entry.channels),
            "declared": "" if entry.declared is None else format_count(entry.declared),
            "written_by": module_name(entry.written_by),
            "read_by": ", ".join(map(module_name, entry.read_by)),
        }
        for entry in wiring.entries
    ]


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
