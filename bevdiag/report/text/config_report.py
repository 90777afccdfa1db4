"""The findings of a config that was not traced, as text."""

from rich.text import Text

from bevdiag.prediction.result import ConfigReport
from bevdiag.report.layout import Layout
from bevdiag.report.text.findings import finding_lines
from bevdiag.report.text.prose import paragraph
from bevdiag.report.text.render import render_lines


def render_config(report: ConfigReport, layout: Layout) -> str:
    """What stops the step, then everything found."""
    verdict = Text.assemble(("cannot run", "bold red"))
    why = f"{report.config}: no training step survives the errors below, so none was traced."
    lines = [verdict, *paragraph(why, layout)]
    if report.refusal:
        lines += paragraph(f"The repository's code ended with: {report.refusal}", layout)
    return render_lines([*lines, *finding_lines(report.findings, layout, report.silenced)], layout)
