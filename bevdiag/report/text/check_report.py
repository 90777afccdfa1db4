"""`bevdiag check` as text: the configs with findings, the worst last, and a line for all."""

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from bevdiag.errors import ExitCode
from bevdiag.prediction.checked import Check, worst_last
from bevdiag.report.layout import Layout
from bevdiag.report.text.findings import finding_lines
from bevdiag.report.text.prose import heading, paragraph
from bevdiag.report.text.render import render_lines

_WORDS = {
    ExitCode.FITS: "without errors",
    ExitCode.NO_VERDICT: "not checked",
    ExitCode.FINDINGS: "with errors",
    ExitCode.USAGE: "that cannot be used",
}


def render_check(checks: Sequence[Check], layout: Layout) -> str:
    """Write the findings of every config that has some, then how many there are of each kind."""
    lines: list[Text] = []
    for check in worst_last(checks):
        if check.failure or check.findings or check.silenced or check.notes:
            lines += _detail_lines(check, layout)
    counts = Counter(check.exit_code for check in checks)
    counted = ", ".join(f"{counts[code]} {words}" for code, words in _WORDS.items() if counts[code])
    last: list[Text] = []
    if unjudged := sum(bool(check.notes) for check in checks):
        last += paragraph(
            f"{unjudged} with modules that are not built in, of which less could be said: "
            "bevdiag inspect CONFIG --source DIR traces them with their repository's code.",
            layout,
        )
    if counts[ExitCode.USAGE]:
        last += paragraph("Once they can be read: bevdiag check CONFIG... again.", layout)
    last += paragraph(f"Configs: {counted}.", layout)
    lines += [*([Text()] if lines else []), *last]
    return render_lines(lines, layout)


def _detail_lines(check: Check, layout: Layout) -> list[Text]:
    lines = heading(check.config, layout)
    if check.failure:
        lines += paragraph(check.failure, layout, indent=2)
    lines += finding_lines(check.findings, layout, check.silenced)
    for note in check.notes:
        lines += paragraph(f"Note: {note}.", layout, indent=2, style="dim")
    return lines
