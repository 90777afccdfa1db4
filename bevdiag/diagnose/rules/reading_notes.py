"""BEV0xx: what is legal in the YAML but probably not what was meant."""

from collections.abc import Iterator

from bevdiag.config.notes import NoteCode
from bevdiag.diagnose.codes import CODES
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding

_CODES = {
    NoteCode.NUMBER_AS_TEXT: "BEV001",
    NoteCode.DUPLICATE_KEY: "BEV002",
    NoteCode.UNKNOWN_KEY: "BEV004",
    NoteCode.COPIES_DIFFER: "BEV603",
}


def check(evidence: Evidence) -> Iterator[Finding]:
    """Yield the notes that were made while the config was read."""
    for note in evidence.config.notes:
        code = CODES[_CODES[note.code]]
        yield Finding(
            code=code.code,
            severity=code.severity,
            message=note.message,
            key=note.key,
            location=note.location,
        )
