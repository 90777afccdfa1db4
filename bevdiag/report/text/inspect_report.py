"""One step as text: of a config, of a test's model, or why no step was traced."""

from rich.text import Text

from bevdiag.memory.events import Phase
from bevdiag.prediction.result import ConfigReport, Prediction
from bevdiag.report.amounts import format_bytes
from bevdiag.report.layout import Layout
from bevdiag.report.text.assumed import assumed_lines, assumption_lines
from bevdiag.report.text.chart import chart_lines
from bevdiag.report.text.findings import finding_lines
from bevdiag.report.text.gpu_catalogue import gpu_lines
from bevdiag.report.text.headline import (
    headline_lines,
    opening_lines,
    stop_sentence,
    verdict_lines,
    verdict_sentence,
)
from bevdiag.report.text.layer_table import layer_lines
from bevdiag.report.text.measurement import measurement_lines
from bevdiag.report.text.peak import peak_lines
from bevdiag.report.text.prose import paragraph, render_lines
from bevdiag.report.text.remedies import remedy_lines
from bevdiag.report.text.wiring_table import wiring_lines


def render_opening(report: Prediction, layout: Layout) -> str:
    """Render the first lines of `render_inspect`."""
    return render_lines(opening_lines(report, layout), layout)


def render_inspect(
    report: Prediction,
    layout: Layout,
    *,
    depth: int,
    verbose: bool = False,
    is_begun: bool = False,
) -> str:
    """Render the report, verdict first and last: `depth` levels of layers, `verbose` all entries.

    Where it `is_begun`, what `render_opening` says is left out.
    """
    said = len(opening_lines(report, layout)) if is_begun else 0
    return render_lines(
        [
            *headline_lines(report, layout)[said:],
            *assumed_lines(report, layout),
            *layer_lines(report, layout, depth),
            *wiring_lines(report, layout, verbose=verbose),
            *chart_lines(report, layout),
            *peak_lines(report, layout),
            *_evaluation_lines(report, layout),
            *measurement_lines(report, layout),
            *gpu_lines(report, layout),
            *finding_lines(report.findings, layout, report.silenced),
            *remedy_lines(report, layout),
            Text(),
            *verdict_lines(report, layout),
        ],
        layout,
    )


def _evaluation_lines(report: Prediction, layout: Layout) -> list[Text]:
    """Whether an evaluation takes more than the training step; nothing where it is the step."""
    found = report.evaluation
    if Phase.BACKWARD.value not in report.phases:
        return []
    if found is None:
        sentence = (
            "Evaluation: not traced; --full says whether it is larger than the training step."
        )
        return paragraph(sentence, layout) if report.scene is not None else []
    if found.refusal:
        return paragraph(f"Evaluation: not traced: {found.refusal}", layout)
    is_larger = found.high_bytes > report.peak.high_bytes
    return paragraph(
        f"Evaluation: {format_bytes(found.allocated_bytes)} allocated, at most "
        f"{format_bytes(found.high_bytes)}: "
        + (
            "larger than the training step; `--step eval` says whether it fits."
            if is_larger
            else "the training step is the larger one."
        )
        + f" After training in the same process {format_bytes(found.after_bytes)} reserved, "
        f"cached blocks of training included.",
        layout,
    )


def render_model(report: Prediction, layout: Layout) -> str:
    """Why a test's model does not pass: verdict, stop, what is assumed, who holds the peak."""
    lines: list[Text] = paragraph(verdict_sentence(report), layout)
    if report.oom is not None:
        lines += paragraph(stop_sentence(report.oom, report.verdict), layout)
        lines += paragraph(report.oom.message, layout, indent=2)
    for name in report.unmodelled:
        lines += paragraph(f"not modelled: {name}", layout, indent=2)
    lines += [*peak_lines(report, layout), *assumption_lines(report.assumptions, layout)]
    return render_lines(lines, layout)


def render_config(report: ConfigReport, layout: Layout) -> str:
    """Write what stops the step, then everything found."""
    verdict = Text.assemble(("cannot run", "bold red"))
    why = f"{report.config}: the errors below stop every training step, so none was traced."
    lines = [verdict, *paragraph(why, layout)]
    if report.refusal:
        lines += paragraph(f"The repository's code ended with: {report.refusal}", layout)
    return render_lines([*lines, *finding_lines(report.findings, layout, report.silenced)], layout)
