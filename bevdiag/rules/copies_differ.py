"""Two places of the config say the same thing and differ.

What it means:
    A module computes positions or sizes from its own copy of a figure, and everything else from
    DATA_CONFIG's. Nothing fails; boxes and voxels just do not lie where the module thinks.

Why it happens:
    VOXEL_SIZE and POINT_CLOUD_RANGE are repeated in the sections of several modules, and a change
    of resolution reaches the first of them only.

How to fix:
    Give the copy DATA_CONFIG's value; a YAML anchor keeps them together.

Seen in:
    Haiyang-W/DSVT#51 (https://github.com/Haiyang-W/DSVT/issues/51): a voxel of 0.1 m beside shapes
    that were left over from a voxel of 0.32 m.
"""

from collections.abc import Iterator

from bevdiag.config import NoteCode
from bevdiag.rules.codes import noted
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield what was noted while the config was checked."""
    yield from noted("BEV603", NoteCode.COPIES_DIFFER, evidence.notes)
