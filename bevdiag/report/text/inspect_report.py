"""`bevdiag inspect` as text."""

from rich.text import Text

from bevdiag.prediction.result import Prediction
from bevdiag.report.layout import Layout
from bevdiag.report.text.assumed import assumed_lines
from bevdiag.report.text.chart import chart_lines
from bevdiag.report.text.findings import finding_lines
from bevdiag.report.text.gpus import gpu_lines
from bevdiag.report.text.headline import headline_lines, verdict_lines
from bevdiag.report.text.layers import layer_lines
from bevdiag.report.text.measurement import measurement_lines
from bevdiag.report.text.peak import peak_lines
from bevdiag.report.text.remedies import remedy_lines
from bevdiag.report.text.render import render_lines
from bevdiag.report.text.wiring import wiring_lines


def render_inspect(report: Prediction, layout: Layout, *, depth: int, verbose: bool = False) -> str:
    """The whole report, verdict first and last: `depth` levels of layers, `verbose` all joints."""
    return render_lines(
        [
            *headline_lines(report, layout),
            *assumed_lines(report, layout),
            *layer_lines(report, layout, depth),
            *wiring_lines(report, layout, verbose=verbose),
            *chart_lines(report, layout),
            *peak_lines(report, layout),
            *measurement_lines(report, layout),
            *gpu_lines(report, layout),
            *finding_lines(report.findings, layout, report.silenced),
            *remedy_lines(report, layout),
            Text(),
            *verdict_lines(report, layout),
        ],
        layout,
    )
