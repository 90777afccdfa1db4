"""What is wrong or worth knowing."""

from bevdiag.report.printable import fold, printable
from bevdiag.report.text.prose import SEVERITY_STYLES, Page
from bevdiag.rules.finding import Confidence, Finding, worst_first


def write_findings(
    page: Page, findings: tuple[Finding, ...], silenced: tuple[Finding, ...] = ()
) -> None:
    """Write the findings, the worst first, and behind them the silenced ones."""
    if findings or silenced:
        page.heading("Findings")
    for number, finding in enumerate(worst_first(findings)):
        if number:
            page.line()
        _write_finding(page, finding)
    if silenced and findings:
        page.line()
    for finding in silenced:
        # The finding itself is what the comment spares the reader.
        assert finding.silenced is not None
        where = finding.silenced.location.shown()
        reason = finding.silenced.reason or "no reason given"
        page.note(f"silenced {finding.code}  {where}: {reason}")


def _write_finding(page: Page, finding: Finding) -> None:
    style = SEVERITY_STYLES[finding.severity]
    tag = f"{finding.severity.value} {printable(finding.code)}"
    first, *more = fold(printable(finding.message), page.layout.width - len(tag) - 4)
    page.line("  ", (tag, f"bold {style}"), "  ", (first, "bold"))
    for part in more:
        page.line(" " * (len(tag) + 4), (part, "bold"))
    doubt = finding.confidence is not Confidence.CERTAIN
    where = [
        *([f"{finding.confidence.value}"] if doubt else []),
        *([str(finding.location.shown())] if finding.location is not None else []),
        *([finding.key] if finding.key else []),
        *([f"in {finding.module}"] if finding.module else []),
    ]
    if where:
        page.paragraph(", ".join(where), indent=4, style="dim")
    for detail in finding.detail:
        page.paragraph(detail, indent=4)
    write_fixes(page, finding)
    if finding.command:
        # Never folded: it is there to be copied.
        page.line("    $ ", (printable(finding.command), "bold"))


def write_fixes(page: Page, finding: Finding) -> None:
    """Name the fixes that the finding has, if it has any."""
    if finding.fixes:
        names = ", ".join(fix.id for fix in finding.fixes)
        page.paragraph(f"fix: {names} (bevdiag fix traces the cheapest first)", indent=4)
