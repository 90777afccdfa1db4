"""What is wrong or worth knowing."""

from rich.text import Text

from bevdiag.report.layout import Layout
from bevdiag.report.locations import shown_location
from bevdiag.report.printable import fold, printable
from bevdiag.report.text.prose import SEVERITY_STYLES, heading, paragraph
from bevdiag.rules.finding import Confidence, Finding, worst_first


def finding_lines(
    findings: tuple[Finding, ...], layout: Layout, silenced: tuple[Finding, ...] = ()
) -> list[Text]:
    """Write the findings, the worst first, and behind them the silenced ones."""
    if not findings and not silenced:
        return []
    lines = heading("Findings", layout)
    for number, finding in enumerate(worst_first(findings)):
        lines += [Text()] if number else []
        lines += _finding_lines(finding, layout)
    if silenced:
        lines += [Text()] if findings else []
        lines += [line for item in silenced for line in _silenced_lines(item, layout)]
    return lines


def _silenced_lines(finding: Finding, layout: Layout) -> list[Text]:
    """Write the code and the reason; the finding itself is what the comment spares the reader."""
    silenced = finding.silenced
    assert silenced is not None
    where = shown_location(silenced.location)
    reason = silenced.reason or "no reason given"
    text = f"silenced {finding.code}  {where}: {reason}"
    return paragraph(text, layout, indent=2, style="dim")


def _finding_lines(finding: Finding, layout: Layout) -> list[Text]:
    style = SEVERITY_STYLES[finding.severity]
    tag = f"{finding.severity.value} {printable(finding.code)}"
    message = fold(printable(finding.message), layout.width - len(tag) - 4)
    lines = [Text.assemble("  ", (tag, f"bold {style}"), "  ", (message[0], "bold"))]
    lines += [Text.assemble(" " * (len(tag) + 4), (part, "bold")) for part in message[1:]]
    doubt = finding.confidence is not Confidence.CERTAIN
    where = [
        *([f"{finding.confidence.value}"] if doubt else []),
        *([str(shown_location(finding.location))] if finding.location is not None else []),
        *([finding.key] if finding.key else []),
        *([f"in {finding.module}"] if finding.module else []),
    ]
    if where:
        lines += paragraph(", ".join(where), layout, indent=4, style="dim")
    for detail in finding.detail:
        lines += paragraph(detail, layout, indent=4)
    if finding.fixes:
        names = ", ".join(fix.id for fix in finding.fixes)
        lines += paragraph(f"fix: {names} (bevdiag fix traces each)", layout, indent=4)
    if finding.command:
        # Never folded: it is there to be copied.
        lines.append(Text.assemble("    $ ", (printable(finding.command), "bold")))
    return lines
