"""Why a model's training step does not pass, for a test's failure."""

from rich.text import Text

from bevdiag.prediction.result import Prediction
from bevdiag.report.layout import Layout
from bevdiag.report.text.assumed import assumption_lines
from bevdiag.report.text.headline import stop_sentence, verdict_sentence
from bevdiag.report.text.peak import peak_lines
from bevdiag.report.text.prose import paragraph
from bevdiag.report.text.render import render_lines


def render_model(report: Prediction, layout: Layout) -> str:
    """The verdict, where the step stops, what is not modelled or assumed, the peak's holders."""
    lines: list[Text] = paragraph(verdict_sentence(report), layout)
    if report.oom is not None:
        lines += paragraph(stop_sentence(report.oom, report.verdict), layout)
        lines += paragraph(report.oom.message, layout, indent=2)
    for name in report.unmodelled:
        lines += paragraph(f"not modelled: {name}", layout, indent=2)
    lines += [*peak_lines(report, layout), *assumption_lines(report.assumptions, layout)]
    return render_lines(lines, layout)
