"""A key stands twice in one section.

What it means:
    Only the last of them counts; what the first one says is lost without a word.

Why it happens:
    YAML forbids it, but PyYAML keeps the last and says nothing. Most often a block was copied and
    its old lines were left in.

How to fix:
    Remove the one that should not count.

Seen in:
    yaml/pyyaml#165 (https://github.com/yaml/pyyaml/issues/165): duplicate keys are overwritten
    with the last value instead of being refused.
"""

from collections.abc import Iterator

from bevdiag.config import NoteCode
from bevdiag.rules.codes import noted
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield what was noted while the config was read."""
    yield from noted("BEV002", NoteCode.DUPLICATE_KEY, evidence.notes)
