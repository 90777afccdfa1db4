"""A number that OpenPCDet's YAML reader takes for text.

What it means:
    A value such as 1e-3 arrives in the training code as the text "1e-3". Arithmetic on it fails
    late, or compares as text.

What is printed:
    not supported between instances of 'float' and 'str'

    can't multiply sequence by non-int of type 'float'

    unsupported operand type(s) for ...: 'str' and 'float'

Why it happens:
    PyYAML reads YAML 1.1, where a number with an exponent needs a dot and a sign: 1.0e-3. Other
    readers, YAML 1.2's among them, take 1e-3 for a number too.

How to fix:
    Write the dot and the sign, or no exponent: 1.0e-3 or 0.001.

Seen in:
    yaml/pyyaml#173 (https://github.com/yaml/pyyaml/issues/173): numbers in scientific notation
    without a dot are parsed as strings.
"""

from collections.abc import Iterator

from bevdiag.config import NoteCode
from bevdiag.rules.codes import noted
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield what was noted while the config was read."""
    yield from noted("BEV001", NoteCode.NUMBER_AS_TEXT, evidence.notes)
