"""`bevdiag inspect` on one screen: what a reader needs first, and where the rest is."""

import shlex
from collections.abc import Mapping

from rich.text import Text

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Plan, Prediction
from bevdiag.report.amounts import format_bytes, format_count, format_share
from bevdiag.report.layout import Layout
from bevdiag.report.locations import shown_location
from bevdiag.report.printable import fold, printable
from bevdiag.report.text.assumed import scene_words
from bevdiag.report.text.chart import chart_lines
from bevdiag.report.text.headline import verdict_lines
from bevdiag.report.text.peak import tensor_text
from bevdiag.report.text.prose import (
    SEVERITY_STYLES,
    VERDICT_WORDS,
    beside_of,
    heading,
    labelled,
    labelled_lines,
    paragraph,
    render_lines,
)
from bevdiag.rules.finding import Finding, Severity, worst_first

_LINES = 48
_LABEL_COLUMN = 9
_CHART_TICKS = 3
_FINDINGS = 3
_FINDING_LINES = 2
_HOLDERS = 5
_COUNTS = 2
_CHANGES = 3


def render_head(report: Prediction, layout: Layout) -> str:
    """Write the first lines, of which plans change nothing: the verdict and the peak."""
    return render_lines(_head_lines(report, layout), layout)


def render_short(
    report: Prediction,
    layout: Layout,
    *,
    is_begun: bool = False,
    commands: Mapping[str, str] | None = None,
) -> str:
    """Verdict, what it stands on, the worst findings, the peak and a way out: at most 50 lines.

    Where the report `is_begun`, what `render_head` says is left out. Plans push the verdict out of
    sight, and may come long after it: behind them it is said again. `commands` are `inspect` and
    `fix` with the user's own options; without them the config and the GPU are named.
    """
    head = _head_lines(report, layout)
    before = head + _assumed_lines(report, layout)
    after = _chart_lines(report, layout) + _holders_lines(report, layout)
    after += _fix_lines(report, layout) + _next_lines(report, layout, commands or {})
    if report.remedies:
        after += [Text(), *verdict_lines(report, layout)]
    findings: list[Text] = []
    for count in range(_FINDINGS, -1, -1):
        findings = _findings_lines(report, layout, count)
        if len(before) + len(findings) + len(after) <= _LINES:
            break
    lines = before + findings + after
    return render_lines(lines[len(head) :] if is_begun else lines, layout)


def _head_lines(report: Prediction, layout: Layout) -> list[Text]:
    lines = paragraph(f"{report.config}: {report.model}", layout, style="dim")
    lines += verdict_lines(report, layout)
    peak = report.peak
    between = (
        f" (between {format_bytes(peak.low_bytes)} and {format_bytes(peak.high_bytes)})"
        if peak.low_bytes < peak.high_bytes
        else ""
    )
    op = peak.op.removeprefix("aten.").removesuffix(".default")
    doing = f", {op}" if op else ""
    where = f"{peak.module or 'the training step itself'}{doing}"
    return lines + paragraph(
        f"Peak {format_bytes(peak.allocated_bytes)} allocated{between}, "
        f"{format_bytes(peak.reserved_bytes)} reserved, at most "
        f"{format_bytes(peak.high_reserved_bytes)}; {peak.phase}, in {where}.",
        layout,
    )


def _assumed_lines(report: Prediction, layout: Layout) -> list[Text]:
    target, scene = report.target, report.scene
    gpu = target.gpu or "no GPU named"
    if target.capacity_bytes is not None:
        gpu += f", {format_bytes(target.capacity_bytes)} usable{beside_of(target)}"
    if target.origin:
        gpu += f" (from {target.origin})"
    step = f"autocast {report.autocast}, optimizer {report.optimizer}"
    entries = [("GPU", f"{gpu}; torch {target.torch}, cuDNN {target.cudnn}")]
    if stands_on := target.profile or target.rules:
        entries.append(("Profile", stands_on))
    if target.loop:
        entries.append(("Loop", target.loop))
    if scene is not None:
        step = f"batch size {scene.batch_size}, {step}"
        entries.append(("Scene", scene_words(scene)))
    entries.append(("Step", f"{step}; {format_count(report.params.total)} parameters"))
    ranged = sorted(
        (item for item in report.assumptions if item.low < item.high),
        key=lambda item: item.low - item.high,
    )
    for item in ranged[:_COUNTS]:
        entries.append(
            (
                "Count",
                f"{item.site}: {format_count(item.used)}, between {format_count(item.low)} and "
                f"{format_count(item.high)}",
            )
        )
    if len(ranged) > _COUNTS:
        entries.append(("", f"and {len(ranged) - _COUNTS} more counts that depend on values"))
    lines = _title("Assumed", layout) + labelled_lines(entries, layout, column=_LABEL_COLUMN)
    if report.unmodelled:
        missing = f"Not modelled, so no verdict stands: {', '.join(report.unmodelled)}."
        lines += _clipped(missing, layout, indent=2, style="yellow")
    return lines


def _chart_lines(report: Prediction, layout: Layout) -> list[Text]:
    if report.verdict is Verdict.FITS:
        return []
    capacity = report.target.capacity_bytes
    usable = "" if capacity is None else f", dashed: usable {format_bytes(capacity)}"
    lines = chart_lines(report, layout, ticks=_CHART_TICKS, captioned=False)
    return _title(f"GiB over the step, dotted: reserved{usable}", layout) + lines if lines else []


def _findings_lines(report: Prediction, layout: Layout, count: int) -> list[Text]:
    found = [item for item in worst_first(report.findings) if item.severity is not Severity.INFO]
    if not found:
        return []
    lines = _title("Findings", layout)
    for finding in found[:count]:
        lines += _finding_lines(finding, layout)
    if more := len(report.findings) - len(found[:count]):
        lines += paragraph(f"and {more} more: --full shows them", layout, indent=2, style="dim")
    return lines


def _finding_lines(finding: Finding, layout: Layout) -> list[Text]:
    tag = f"{finding.severity.value} {printable(finding.code)}"
    lines = _clipped(f"{tag}: {finding.message}", layout, indent=2)
    lines[0].stylize(f"bold {SEVERITY_STYLES[finding.severity]}", 2, 2 + len(tag))
    if finding.location is not None:
        where = printable(str(shown_location(finding.location)))
        key = f"{where}, {printable(finding.key or '')}"
        whole = finding.key and len(key) + 4 <= layout.width
        lines.append(Text.assemble("    ", (key if whole else where, "dim")))
    elif finding.module:
        lines.append(Text.assemble("    ", (f"in {printable(finding.module)}", "dim")))
    return lines


def _holders_lines(report: Prediction, layout: Layout) -> list[Text]:
    peak = report.peak
    holders = sorted(peak.holders, key=lambda holder: (-holder.nbytes, holder.module, holder.op))
    if not holders:
        return []
    shown = holders[: _HOLDERS if report.verdict is not Verdict.FITS else 3]
    lines = _title("Largest at the peak", layout)
    for holder in shown:
        size = format_bytes(holder.nbytes).rjust(10)
        share = format_share(holder.nbytes, peak.allocated_bytes).rjust(7)
        text = f"{size} {share}  {holder.category.ljust(10)}  {holder.module or holder.op}"
        tensor = tensor_text(holder) or holder.op
        # Where space is short the type goes, then the shape.
        longest = (f"{text}  {tensor}", f"{text}  {tensor.rpartition(' ')[0]}", text)
        line = next((one for one in longest if len(one) + 2 <= layout.width), text)
        lines.append(Text.assemble("  ", printable(line.rstrip())))
    return lines


def _fix_lines(report: Prediction, layout: Layout) -> list[Text]:
    if report.verdict not in (Verdict.OVER, Verdict.DEPENDS) or not report.remedies:
        return []
    lines = _title("Fix", layout)
    plan = report.recommended
    if plan is None:
        text = f"None of the {len(report.remedies)} changes that were traced makes it fit."
        return lines + paragraph(text, layout, indent=2)
    peak = format_bytes(plan.peak_allocated_bytes or 0)
    at_most = format_bytes(plan.high_bytes or 0)
    words = VERDICT_WORDS[plan.verdict][0]
    text = f"{plan.id or 'the channels that arrive'}: {words}, a peak of {peak}, at most {at_most}"
    lines += paragraph(text, layout, indent=2, style="bold")
    for label, value in (
        ("changes", _changes(plan)),
        ("loses", plan.loses),
        ("unsafe", "; ".join(plan.unsafe)),
        ("needs", "; ".join(plan.needs)),
    ):
        if value:
            entry = labelled(label, value, layout, column=_LABEL_COLUMN)
            lines += _short(entry)
    return lines


def _changes(plan: Plan) -> str:
    keys = [key.rpartition(".")[2] for key in plan.edits]
    more = f" and {len(keys) - _CHANGES} more keys" if len(keys) > _CHANGES else ""
    return f"{plan.title} ({', '.join(keys[:_CHANGES])}{more})"


def _next_lines(report: Prediction, layout: Layout, asked: Mapping[str, str]) -> list[Text]:
    gpu = f" --gpu {shlex.quote(report.target.gpu)}" if report.target.gpu else ""
    plain = f"{shlex.quote(report.config)}{gpu}"
    again = asked.get("inspect", f"bevdiag inspect {plain}")
    commands = []
    if report.recommended is not None and report.recommended.changes:
        fix = asked.get("fix", f"bevdiag fix {plain}")
        commands.append((fix, "writes these edits, with --write"))
    if report.verdict is Verdict.NO_BUDGET:
        commands.append((f"{again} --gpu NAME", "says whether it fits"))
    worst = worst_first(report.findings)
    if worst and worst[0].severity is not Severity.INFO:
        commands.append((f"bevdiag rule {worst[0].code}", "explains the worst finding"))
    commands.append((f"{again} --full", "all layers, holders, findings, changes"))
    lines = _title("Next", layout)
    for command, purpose in commands:
        # A command is there to be copied: never folded, and its purpose goes where space is short.
        line = Text.assemble("  $ ", (printable(command), "bold"))
        if line.cell_len + len(purpose) + 4 <= layout.width:
            line.append(f"  # {purpose}", style="dim")
        lines.append(line)
    return lines


def _title(title: str, layout: Layout) -> list[Text]:
    """Write a heading without the blank line ahead of it: the rule sets it off, lines are few."""
    return heading(title, layout)[1:]


def _clipped(text: str, layout: Layout, *, indent: int, style: str = "") -> list[Text]:
    """At most two lines of a paragraph: the whole of it stands in the full report."""
    return _short(
        [
            Text.assemble(" " * indent, (part, style))
            for part in fold(printable(text), layout.width - indent - len(_MORE))
        ]
    )


_MORE = " ..."


def _short(lines: list[Text]) -> list[Text]:
    if len(lines) <= _FINDING_LINES:
        return lines
    return [*lines[: _FINDING_LINES - 1], lines[_FINDING_LINES - 1] + Text(_MORE)]
