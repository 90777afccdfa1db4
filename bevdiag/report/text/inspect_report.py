"""One step as text: of a config, of a test's model, or why no step was traced."""

from bevdiag.memory.events import Phase
from bevdiag.prediction.result import ConfigReport, Prediction
from bevdiag.report.amounts import format_bytes
from bevdiag.report.text.assumed import write_assumed, write_assumptions
from bevdiag.report.text.chart import write_chart
from bevdiag.report.text.findings import write_findings
from bevdiag.report.text.gpu_catalogue import write_gpus
from bevdiag.report.text.headline import (
    verdict_sentence,
    write_opening,
    write_reasons,
    write_stop,
    write_verdict,
)
from bevdiag.report.text.layer_tree import write_layers
from bevdiag.report.text.measurement import write_measurement
from bevdiag.report.text.peak import write_peak
from bevdiag.report.text.prose import Page
from bevdiag.report.text.remedies import write_remedies
from bevdiag.report.text.wiring_table import write_wiring


def write_inspect(
    page: Page, report: Prediction, *, depth: int, verbose: bool = False, is_begun: bool = False
) -> None:
    """Write the report, verdict first and last: `depth` levels of layers, `verbose` all entries.

    Where it `is_begun`, what `write_opening` says is left out.
    """
    if not is_begun:
        write_opening(page, report)
    write_reasons(page, report)
    write_assumed(page, report)
    write_layers(page, report, depth)
    write_wiring(page, report, verbose=verbose)
    write_chart(page, report)
    write_peak(page, report)
    _write_evaluation(page, report)
    write_measurement(page, report)
    write_gpus(page, report)
    write_findings(page, report.findings, report.silenced)
    write_remedies(page, report)
    page.line()
    write_verdict(page, report)


def _write_evaluation(page: Page, report: Prediction) -> None:
    """Whether an evaluation takes more than the training step; nothing where it is the step."""
    found = report.evaluation
    if found is None or Phase.BACKWARD.value not in report.phases:
        return
    if found.refusal:
        page.paragraph(f"Evaluation: not traced: {found.refusal}")
        return
    is_larger = found.high_bytes > report.peak.high_bytes
    page.paragraph(
        f"Evaluation: {format_bytes(found.allocated_bytes)} allocated, at most "
        f"{format_bytes(found.high_bytes)}: "
        + (
            "larger than the training step; `--step eval` says whether it fits."
            if is_larger
            else "the training step is the larger one."
        )
        + f" After training in the same process {format_bytes(found.after_bytes)} reserved, "
        f"cached blocks of training included."
    )


def write_model(page: Page, report: Prediction) -> None:
    """Why a test's model does not pass: verdict, stop, what is assumed, who holds the peak."""
    page.paragraph(verdict_sentence(report))
    write_stop(page, report)
    for name in report.unmodelled:
        page.paragraph(f"not modelled: {name}", indent=2)
    write_peak(page, report)
    write_assumptions(page, report.assumptions)


def write_config(page: Page, report: ConfigReport) -> None:
    """Write what stops the step, then everything found."""
    page.line(("cannot run", "bold red"))
    page.paragraph(
        f"{report.config}: the errors below stop every training step, so none was traced."
    )
    if report.refusal:
        page.paragraph(f"The repository's code ended with: {report.refusal}")
    write_findings(page, report.findings, report.silenced)
