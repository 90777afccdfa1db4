"""BEV901: the model read a single number from its features, and the run had to guess it."""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Yield the trace's notes."""
    for note in evidence.trace.notes:
        yield finding("BEV901", note)
