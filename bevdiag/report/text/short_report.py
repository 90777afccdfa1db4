"""`bevdiag inspect` on one screen: what a reader needs first, and where the rest is."""

from collections.abc import Mapping
from dataclasses import replace

from rich.text import Text

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Plan, Prediction
from bevdiag.report.amounts import format_apart, format_bytes, format_count, format_share
from bevdiag.report.printable import printable
from bevdiag.report.text.assumed import (
    not_modelled,
    scene_words,
    stack_entries,
    step_words,
    usable_of,
)
from bevdiag.report.text.chart import draw_chart
from bevdiag.report.text.headline import way_out, write_verdict
from bevdiag.report.text.peak import between, largest_holders, tensor_text
from bevdiag.report.text.prose import SEVERITY_STYLES, VERDICT_WORDS, Page
from bevdiag.rules.finding import Finding, Severity, worst_first

_LINES = 48
_LABEL_COLUMN = 9
_FIGURES = 20
_CHART_TICKS = 3
_SHOWN = (
    (3, True, 5),
    (2, True, 5),
    (1, True, 5),
    (1, True, 3),
    (2, False, 5),
    (1, False, 3),
    (0, False, 3),
)
"""How many findings, whether the chart, and how many holders of the peak: the first that leave room
for the rest. The worst finding counts for more than the smaller holders and the chart."""
_FINDING_LINES = 2
_COUNTS = 2
_CHANGES = 3


def write_short(
    page: Page,
    report: Prediction,
    *,
    is_begun: bool = False,
    commands: Mapping[str, str],
) -> None:
    """Verdict, what it stands on, the worst findings, the peak and a way out: at most 50 lines.

    Where the report `is_begun`, what `write_head` says is left out. Plans push the verdict out of
    sight, and may come long after it: behind them it is said again. `commands` are `inspect` and
    `fix` with the user's own options.
    """
    after = Page(page.layout)
    write_head(page, report)
    said = len(page.lines) if is_begun else 0
    _write_assumed(page, report)
    _write_fix(after, report)
    _write_next(after, report, commands)
    if report.remedies:
        after.line()
        write_verdict(after, report)
    for findings, has_chart, holders in _SHOWN:
        found = Page(page.layout)
        _write_findings(found, report, findings)
        if has_chart:
            _write_chart(found, report)
        _write_holders(found, report, holders)
        if len(page.lines) + len(found.lines) + len(after.lines) <= _LINES:
            break
    page.lines += found.lines + after.lines
    del page.lines[:said]


def write_head(page: Page, report: Prediction) -> None:
    """Write the first lines, of which plans change nothing: the verdict and the peak."""
    page.paragraph(f"{report.config}: {report.model}", style="dim")
    write_verdict(page, report)
    peak = report.peak
    ends = f" ({between(peak)})" if peak.low_bytes < peak.high_bytes else ""
    op = peak.op.removeprefix("aten.").removesuffix(".default")
    doing = f", {op}" if op else ""
    where = f"{peak.module or 'the training step itself'}{doing}"
    reserved, most = format_apart(peak.reserved_bytes, peak.high_reserved_bytes)
    page.paragraph(
        f"Peak {format_bytes(peak.allocated_bytes)} allocated{ends}, {reserved} reserved, at most "
        f"{most}; {peak.phase}, in {where}."
    )


def _write_assumed(page: Page, report: Prediction) -> None:
    target, scene = report.target, report.scene
    gpu = f"{target.gpu or 'no GPU named'}{usable_of(target)}"
    if target.origin:
        gpu += f" (from {target.origin})"
    step = f"{step_words(report)}; {format_count(report.params.total)} parameters"
    ranged = sorted(
        (item for item in report.assumptions if item.low < item.high),
        key=lambda item: item.low - item.high,
    )
    entries = [
        ("GPU", f"{gpu}; torch {target.torch}, cuDNN {target.cudnn_text}"),
        *stack_entries(target),
        ("Scene", "" if scene is None else scene_words(scene)),
        ("Step", step),
        *(
            (
                "Count",
                f"{item.site}: {format_count(item.used)}, between {format_count(item.low)} and "
                f"{format_count(item.high)}",
            )
            for item in ranged[:_COUNTS]
        ),
    ]
    if len(ranged) > _COUNTS:
        entries.append(("", f"and {len(ranged) - _COUNTS} more counts that depend on values"))
    page.heading("Assumed", apart=False)
    page.labelled(entries, column=_LABEL_COLUMN)
    if report.unmodelled:
        _write_clipped(page, not_modelled(report), style="yellow")


def _write_chart(page: Page, report: Prediction) -> None:
    if report.verdict is not Verdict.FITS and report.timeline:
        capacity = report.target.capacity_bytes
        usable = "" if capacity is None else f", dashed: usable {format_bytes(capacity)}"
        page.heading(f"GiB over the step, dotted: reserved{usable}", apart=False)
        draw_chart(page, report, ticks=_CHART_TICKS)


def _write_findings(page: Page, report: Prediction, count: int) -> None:
    found = [item for item in worst_first(report.findings) if item.severity is not Severity.INFO]
    if not found:
        return
    page.heading("Findings", apart=False)
    for finding in found[:count]:
        _write_finding(page, finding)
    if more := len(report.findings) - len(found[:count]):
        page.note(f"and {more} more: --full shows them")


def _write_finding(page: Page, finding: Finding) -> None:
    tag = f"{finding.severity.value} {printable(finding.code)}"
    begun = len(page.lines)
    _write_clipped(page, f"{tag}: {finding.message}")
    page.lines[begun].stylize(f"bold {SEVERITY_STYLES[finding.severity]}", 2, 2 + len(tag))
    if finding.location is not None:
        where = printable(str(finding.location.shown()))
        key = f"{where}, {printable(finding.key or '')}"
        whole = finding.key and len(key) + 4 <= page.layout.width
        page.line("    ", (key if whole else where, "dim"))
    elif finding.module:
        page.line("    ", (f"in {printable(finding.module)}", "dim"))


def _write_holders(page: Page, report: Prediction, count: int) -> None:
    peak = report.peak
    if peak.holders:
        page.heading("Largest at the peak", apart=False)
    most = min(count, 3) if report.verdict is Verdict.FITS else count
    for holder in largest_holders(peak)[:most]:
        size = format_bytes(holder.nbytes).rjust(10)
        share = format_share(holder.nbytes, peak.allocated_bytes).rjust(7)
        text = f"{holder.category.ljust(10)}  {holder.module or holder.op}"
        tensor = tensor_text(holder) or holder.op
        # Where space is short the type goes, then the shape.
        longest = (f"{text}  {tensor}", f"{text}  {tensor.rpartition(' ')[0]}", text)
        room = page.layout.width - 2 - _FIGURES
        line = next((one for one in longest if len(one) <= room), text)
        page.labelled([(f"{size} {share}", line.rstrip())], column=_FIGURES)


def _write_fix(page: Page, report: Prediction) -> None:
    if report.verdict not in (Verdict.OVER, Verdict.DEPENDS) or not report.remedies:
        return
    page.heading("Fix", apart=False)
    plan = report.recommended
    if plan is None:
        page.paragraph(way_out(report), indent=2)
        return
    peak = format_bytes(plan.peak_allocated_bytes or 0)
    at_most = format_bytes(plan.high_bytes or 0)
    words = VERDICT_WORDS[plan.verdict][0]
    text = f"{plan.id or 'the channels that arrive'}: {words}, a peak of {peak}, at most {at_most}"
    page.paragraph(text, indent=2, style="bold")
    for entry in (
        ("changes", _changes(plan)),
        ("loses", plan.loses),
        ("unsafe", "; ".join(plan.unsafe)),
        ("needs", "; ".join(plan.needs)),
    ):
        begun = len(page.lines)
        page.labelled([entry], column=_LABEL_COLUMN)
        _clip(page, begun)


def _changes(plan: Plan) -> str:
    keys = [key.rpartition(".")[2] for key in plan.edits]
    more = f" and {len(keys) - _CHANGES} more keys" if len(keys) > _CHANGES else ""
    return f"{plan.title} ({', '.join(keys[:_CHANGES])}{more})"


def _write_next(page: Page, report: Prediction, asked: Mapping[str, str]) -> None:
    again = asked["inspect"]
    commands = []
    is_code = report.config.endswith(".py")  # which bevdiag does not edit
    if report.recommended is not None and report.recommended.changes and not is_code:
        commands.append((asked["fix"], "writes these edits, with --write"))
    if report.verdict is Verdict.NO_BUDGET:
        commands.append((f"{again} --gpu NAME", "says whether it fits"))
    worst = worst_first(report.findings)
    if worst and worst[0].severity is not Severity.INFO:
        commands.append((f"bevdiag rule {worst[0].code}", "explains the worst finding"))
    commands.append((f"{again} --full", "all layers, holders, findings, changes"))
    page.heading("Next", apart=False)
    for command, purpose in commands:
        # A command is there to be copied: never folded, and its purpose goes where space is short.
        line = Text.assemble("  $ ", (printable(command), "bold"))
        if line.cell_len + len(purpose) + 4 <= page.layout.width:
            line.append(f"  # {purpose}", style="dim")
        page.lines.append(line)


_MORE = " ..."


def _write_clipped(page: Page, text: str, style: str = "") -> None:
    """Write at most two lines of a paragraph: the whole of it stands in the full report."""
    begun = len(page.lines)
    narrower = Page(replace(page.layout, width=page.layout.width - len(_MORE)))
    narrower.paragraph(text, indent=2, style=style)
    page.lines += narrower.lines
    _clip(page, begun)


def _clip(page: Page, begun: int) -> None:
    """Cut what has been written since then to two lines."""
    if len(page.lines) - begun > _FINDING_LINES:
        del page.lines[begun + _FINDING_LINES :]
        page.lines[-1] += Text(_MORE)
