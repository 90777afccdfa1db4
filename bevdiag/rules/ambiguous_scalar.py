"""A value that one YAML reader takes for another than the next.

What it means:
    OpenPCDet's reader (YAML 1.1) takes on, off, yes and no for booleans, 012 for ten, and 1:30 for
    ninety. A reader of YAML 1.2, and most people, do not.

Why it happens:
    The rules of YAML 1.1 were made for convenience and taken back in 1.2.

How to fix:
    Write true or false, and numbers in decimal digits; quote what is meant as text.

Seen in:
    yaml/pyyaml#613 (https://github.com/yaml/pyyaml/issues/613): yes, no, on and off become
    booleans.
"""

from collections.abc import Iterator

from bevdiag.config import NoteCode
from bevdiag.rules.codes import noted
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield what was noted while the config was read."""
    yield from noted("BEV003", NoteCode.AMBIGUOUS_SCALAR, evidence.notes)
