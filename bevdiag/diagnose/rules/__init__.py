"""One rule a file; each module has `check(evidence)`, which yields findings."""

from collections.abc import Callable, Iterator

from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding, Severity
from bevdiag.diagnose.rules import (
    bev_channel_mismatch,
    beyond_32_bit,
    budget,
    densified_volume,
    focal_growth,
    guessed_scalars,
    height_flatten_blowup,
    padded_voxel_features,
    parameters_not_optimized,
    parameters_without_gradient,
    peak_dominated,
    reading_notes,
)

Rule = Callable[[Evidence], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    bev_channel_mismatch.check,
    height_flatten_blowup.check,
    beyond_32_bit.check,
    budget.check,
    focal_growth.check,
    densified_volume.check,
    padded_voxel_features.check,
    peak_dominated.check,
    parameters_without_gradient.check,
    parameters_not_optimized.check,
    reading_notes.check,
    guessed_scalars.check,
)

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """What all rules find, errors first."""
    found = [finding for rule in RULES for finding in rule(evidence)]
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))
