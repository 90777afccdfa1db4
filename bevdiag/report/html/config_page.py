"""The findings of a config that was not traced, as a page."""

from bevdiag import __version__
from bevdiag.prediction.result import ConfigReport
from bevdiag.report.html.document import render_page
from bevdiag.report.html.findings import shown_findings, shown_silenced


def config_page(report: ConfigReport) -> str:
    """The report as one HTML document."""
    return render_page(
        "config.html",
        (),
        report=report,
        version=__version__,
        findings=shown_findings(report.findings),
        silenced=shown_silenced(report.silenced),
    )
