"""BEV307: how many voxels the focal encoder keeps is a matter of values, not of the config.

Foreground voxels spawn neighbours by a threshold on predicted values. At random initialisation
those are near the threshold for the whole scene at once, so the growth depends on the seed.
"""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding
from bevdiag.memory.oom import format_size


def check(evidence: Evidence) -> Iterator[Finding]:
    """Yield a finding where the upper end keeps more than twice the voxels that came in."""
    kept, incoming = evidence.kept_voxels, evidence.batch.num_voxels
    if kept.high <= 2 * incoming:
        return
    peaks = evidence.profile.peak.allocated_bytes, evidence.high.peak.allocated_bytes
    yield finding(
        "BEV307",
        f"the focal encoder turns {incoming:,} voxels into {kept.low:,} to {kept.high:,}: "
        f"{kept.low / incoming:.1f} to {kept.high / incoming:.1f} times, by feature values",
        config=evidence.config,
        key="MODEL.BACKBONE_3D.FOCAL_ENCODER",
        module="backbone_3d.focal_encoder",
        detail=(
            f"DSVT runs on all of them: the step peaks at {format_size(peaks[0])} with "
            f"{kept.used:,} voxels kept and at {format_size(peaks[1])} at the upper end, whatever "
            "the BEV map does. Compressing the height alone does not touch this.",
            "FOCAL_TOPK: True with a small FOCAL_THRESHOLD bounds the foreground, and with it the "
            "growth. --assume backbone_3d.focal_encoder.kept_voxels=COUNT pins the count.",
        ),
    )
