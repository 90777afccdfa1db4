"""Checks as workflow commands: GitHub shows them as annotations beside the config's lines.

GitHub keeps ten errors and ten warnings of a step and drops the rest without a word, so the worst
come first and a last line counts those left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bevdiag.errors import ExitCode, Location
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Check, worst_last
from bevdiag.prediction.result import Prediction
from bevdiag.report.locations import shown_location
from bevdiag.report.printable import printable, printable_lines
from bevdiag.report.text.headline import verdict_sentence
from bevdiag.rules.finding import Finding, Severity, worst_first

MOST_OF_A_KIND = 10
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


@dataclass(frozen=True, slots=True)
class _Annotation:
    command: str
    title: str
    message: str
    file: str
    location: Location | None = None


def github(checks: Sequence[Check]) -> str:
    """One workflow command a line."""
    ordered = reversed(worst_last(checks))
    annotations = [item for check in ordered for item in _annotations(check)]
    lines: list[str] = []
    left_out = 0
    for command in _COMMANDS.values():
        of_kind = [item for item in annotations if item.command == command]
        lines += [_line(item) for item in of_kind[:MOST_OF_A_KIND]]
        left_out += len(of_kind[MOST_OF_A_KIND:])
    if left_out:
        lines.append(f"::notice title=bevdiag::{left_out} more: see the log or the job summary")
    return "".join(f"{line}\n" for line in lines)


def _annotations(check: Check) -> Iterator[_Annotation]:
    if check.failure:
        known = check.exit_code is ExitCode.NO_VERDICT
        command = "warning" if known else "error"
        yield _Annotation(command, "bevdiag", check.failure, check.config)
    for finding in worst_first(check.findings):
        yield _of_finding(check.config, finding)
    report = check.report
    if isinstance(report, Prediction) and report.verdict in (Verdict.DEPENDS, Verdict.UNKNOWN):
        yield _Annotation("warning", "bevdiag", verdict_sentence(report), check.config)


def _of_finding(config: str, finding: Finding) -> _Annotation:
    return _Annotation(
        _COMMANDS[finding.severity],
        f"bevdiag ({finding.code})",
        "\n".join((finding.message, *finding.detail)),
        config,
        finding.location,
    )


def _line(item: _Annotation) -> str:
    location = shown_location(item.location or Location(Path(item.file), 1, 1))
    properties = {"file": location.file.as_posix()}
    if item.location is not None:
        properties |= {"line": str(location.line), "col": str(location.column)}
    properties["title"] = item.title
    named = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    # Older commands of this kind are obeyed wherever in a line they stand.
    return f"::{item.command} {named}::{_data(printable_lines(item.message))}".replace(
        "##[", "## ["
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")
