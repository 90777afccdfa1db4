"""How many voxels a focal module keeps is a matter of values, not of the config.

What it means:
    A focal convolution may hand over more than twice the voxels that it was given, and all that
    follows runs on them.

Why it happens:
    Foreground voxels spawn those of their 26 neighbours that pass a threshold on predicted values.
    At random initialisation those are near the threshold for the whole scene at once, so the
    growth depends on the seed; a trained network keeps fewer.

How to mend:
    TOPK with a small THRESHOLD bounds the foreground, and with it the growth.

Seen in:
    JIA-Lab-research/FocalsConv#27 (https://github.com/JIA-Lab-research/FocalsConv/issues/27): 17 to
    19 GB for three lidar samples; its author's advice is to lower the ratio of 0.5 to 0.3.
"""

from collections.abc import Iterator

from bevdiag.config.settings import FocalDsvtSettings
from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import StepEvidence
from bevdiag.diagnose.result import Finding
from bevdiag.diagnose.summary import saved_bytes_by_module
from bevdiag.memory.oom import format_size
from bevdiag.trace.kept_voxels import KeptVoxels


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where the upper end keeps more than twice the voxels that came in."""
    for kept in evidence.kept_voxels:
        if kept.high > 2 * kept.incoming:
            is_encoder = isinstance(evidence.config.model.backbone_3d, FocalDsvtSettings)
            yield (_encoder_growth if is_encoder else _level_growth)(evidence, kept)


def _level_growth(evidence: StepEvidence, kept: KeptVoxels) -> Finding:
    peaks = evidence.profile.peak.allocated_bytes, evidence.high.peak.allocated_bytes
    return finding(
        "BEV307",
        f"{kept.module} turns {kept.incoming:,} voxels into {kept.low:,} to {kept.high:,}, by "
        "feature values",
        document=evidence.document,
        key="MODEL.BACKBONE_3D.NAME",
        module=kept.module,
        detail=(
            f"The step peaks at {format_size(peaks[0])} with {kept.used:,} voxels kept here and at "
            f"{format_size(peaks[1])} with the most that every focal convolution can keep.",
            "A smaller THRESHOLD with TOPK bounds the foreground, and with it the growth. "
            f"--assume {kept.site}=COUNT pins the count.",
        ),
    )


def _encoder_growth(evidence: StepEvidence, kept: KeptVoxels) -> Finding:
    incoming = kept.incoming
    peaks = evidence.profile.peak.allocated_bytes, evidence.high.peak.allocated_bytes
    return finding(
        "BEV307",
        f"the focal encoder turns {incoming:,} voxels into {kept.low:,} to {kept.high:,}: "
        f"{kept.low / incoming:.1f} to {kept.high / incoming:.1f} times, by feature values",
        document=evidence.document,
        key="MODEL.BACKBONE_3D.FOCAL_ENCODER",
        module=kept.module,
        detail=(
            f"DSVT runs on all of them: the step peaks at {format_size(peaks[0])} with "
            f"{kept.used:,} voxels kept and at {format_size(peaks[1])} at the upper end, whatever "
            "the BEV map does.",
            *_what_compression_leaves(evidence),
            "FOCAL_TOPK: True with a small FOCAL_THRESHOLD bounds the foreground, and with it the "
            f"growth. --assume {kept.site}=COUNT pins the count.",
        ),
    )


def _what_compression_leaves(evidence: StepEvidence) -> tuple[str, ...]:
    """What the report's own remedy does not mend, where it was traced."""
    for remedy in evidence.remedies:
        if remedy.id == "compression-max" and remedy.peak_allocated_bytes and remedy.high_bytes:
            dsvt = saved_bytes_by_module(evidence.trace.stream).get("backbone_3d.dsvt", 0)
            return (
                "Max compression of the height alone does not touch this: with it the step still "
                f"peaks at {format_size(remedy.peak_allocated_bytes)}, and at "
                f"{format_size(remedy.high_bytes)} at the upper end, because DSVT's activations "
                f"({format_size(dsvt)} kept for the backward pass here) grow with the kept voxels, "
                "and the dense volume is still made before it is reduced.",
            )
    return ()
