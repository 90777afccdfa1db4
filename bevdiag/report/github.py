"""Checks as workflow commands: GitHub shows them as annotations beside the config's lines.

GitHub keeps ten errors and ten warnings of a step and drops the rest without a word, so the worst
come first and a last line counts those left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bevdiag.errors import ExitCode, Location
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Check, worst_last
from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import printable, printable_lines
from bevdiag.report.text.headline import verdict_sentence
from bevdiag.rules.finding import Severity, worst_first

MOST_OF_A_KIND = 10
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def github(checks: Sequence[Check]) -> str:
    """One workflow command a line."""
    annotations = [line for check in reversed(worst_last(checks)) for line in _annotations(check)]
    of_kinds = [
        [line for line in annotations if line.startswith(f"::{command} ")]
        for command in _COMMANDS.values()
    ]
    lines = [line for of_kind in of_kinds for line in of_kind[:MOST_OF_A_KIND]]
    if left_out := len(annotations) - len(lines):
        lines.append(f"::notice title=bevdiag::{left_out} more: see the log or the job summary")
    return "".join(f"{line}\n" for line in lines)


def _annotations(check: Check) -> Iterator[str]:
    if check.failure:
        known = check.exit_code is ExitCode.NO_VERDICT
        yield _line("warning" if known else "error", "bevdiag", check.failure, check.config)
    for finding in worst_first(check.findings):
        text = "\n".join((finding.message, *finding.detail))
        title = f"bevdiag ({finding.code})"
        yield _line(_COMMANDS[finding.severity], title, text, check.config, finding.location)
    report = check.report
    if isinstance(report, Prediction) and report.verdict in (Verdict.DEPENDS, Verdict.UNKNOWN):
        yield _line("warning", "bevdiag", verdict_sentence(report), check.config)


def _line(
    command: str, title: str, message: str, config: str, place: Location | None = None
) -> str:
    location = (place or Location(Path(config), 1, 1)).shown()
    properties = {"file": location.file.as_posix()}
    if place is not None:
        properties |= {"line": str(location.line), "col": str(location.column)}
    properties["title"] = title
    named = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    # Older commands of this kind are obeyed wherever in a line they stand.
    return f"::{command} {named}::{_data(printable_lines(message))}".replace("##[", "## [")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")
