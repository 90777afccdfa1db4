"""Checks as Markdown, for a job summary or a comment on a pull request.

GitHub drops a job summary beyond 1 MiB as a whole and refuses a comment beyond 65,536 characters,
so the text is cut before, between configs, and says how many are left out.
"""

import re
from collections.abc import Sequence

from bevdiag.errors import ExitCode
from bevdiag.prediction.checked import Check, worst_last
from bevdiag.prediction.result import Prediction
from bevdiag.report.amounts import format_bytes
from bevdiag.report.printable import printable
from bevdiag.report.text.checks_report import WORDS, figures, why
from bevdiag.report.text.headline import verdict_sentence
from bevdiag.rules.finding import Finding, worst_first

MOST_CHARACTERS = 65_536
"""Of a comment; a job summary holds more."""

_FRAME = 400
"""Room for the heading and for the sentences about what is left out."""

_WORDS = {code: f"**{word}**" if "bold" in style else word for code, (word, style) in WORDS.items()}
_HEAD = ("| config | | peak | reserved | usable | why |", "|---|---|--:|--:|--:|---|")
_WEB = re.compile(r"(www)\.", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&@:])")


def markdown(checks: Sequence[Check]) -> str:
    """Write the table of configs, the worst first, and below it what stands against them."""
    ordered = worst_last(checks)[::-1]
    rows = [_row(check) for check in ordered]
    shown_rows = _fitting(rows, MOST_CHARACTERS // 2)
    details = [_details(check) for check in ordered if _has_details(check)]
    used = sum(len(row) + 1 for row in shown_rows)
    shown_details = _fitting(details, MOST_CHARACTERS - used - _FRAME)
    parts = ["\n".join(("## bevdiag", "", *_HEAD, *shown_rows))]
    if len(shown_rows) < len(rows):
        parts.append(f"{len(rows) - len(shown_rows)} more configs are left out of the table.")
    parts += shown_details
    if len(shown_details) < len(details):
        parts.append(f"The details of {len(details) - len(shown_details)} more are left out.")
    return "\n\n".join(parts) + "\n"


def _fitting(blocks: Sequence[str], most: int) -> list[str]:
    """As many of the first blocks as fit into `most` characters."""
    taken: list[str] = []
    for block in blocks:
        most -= len(block) + 2
        if most < 0:
            break
        taken.append(block)
    return taken


def _row(check: Check) -> str:
    amounts = ("" if figure is None else format_bytes(figure) for figure in figures(check))
    cells = (escaped(check.config), _WORDS[check.exit_code], *amounts)
    return f"| {' | '.join(cells)} | {escaped(why(check))} |"


def _has_details(check: Check) -> bool:
    return bool(check.findings or check.silenced or check.notes) or (
        check.report is not None and check.exit_code is not ExitCode.FITS
    )


def _details(check: Check) -> str:
    lines = [f"### {escaped(check.config)}", ""]
    if isinstance(check.report, Prediction):
        lines += [escaped(verdict_sentence(check.report)), ""]
    lines += map(_finding, worst_first(check.findings))
    lines += [
        f"- silenced {f.code}: {escaped(f.silenced.reason)}" for f in check.silenced if f.silenced
    ]
    lines += [f"- {escaped(note)}" for note in check.notes]
    return "\n".join(lines)


def _finding(finding: Finding) -> str:
    where = finding.location
    place = "" if where is None else f" ({escaped(str(where.shown()))})"
    text = f"- {finding.severity.value} {finding.code}{place}: {escaped(finding.message)}"
    return "\n".join((text, *(f"  {escaped(line)}  " for line in finding.detail)))


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no mention, no link, one line."""
    marked = _SPECIAL.sub(r"\\\1", printable(text))
    marked = marked.replace("\\@", "\\@\u200b").replace("\\#", "\\#\u200b")
    return _WEB.sub("\\1\u200b.", marked)
