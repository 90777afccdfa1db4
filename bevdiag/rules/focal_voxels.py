"""The rule about focal convolutions, which add voxels by feature values."""

from collections.abc import Iterator

from bevdiag.config.backbone_settings import FocalDsvtSettings, VoxelFocalBackboneSettings
from bevdiag.memory.sizes import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding, Fix, Fixable, Price
from bevdiag.trace.kept_voxels import KeptVoxels

_BACKBONE = ("MODEL", "BACKBONE_3D")
_ENCODER = (*_BACKBONE, "FOCAL_ENCODER")
_TOPK_SHARE = 0.1
"""With every neighbour on, a tenth of the voxels as foreground adds at most 26 / 10 of them."""
_RAISED_THRESHOLD = 0.7


def focal_growth(evidence: StepEvidence) -> Iterator[Finding]:
    """How many voxels a focal module keeps is a matter of values, not of the config.

    What it means: A focal convolution may hand over more than twice the voxels that it was given,
        and all that follows runs on them.
    Why it happens: Foreground voxels spawn those of their 26 neighbours that pass a threshold on
        predicted values. At random initialisation those are near the threshold for the whole scene
        at once, so the growth depends on the seed; a trained network keeps fewer.
    How to fix: TOPK with a small THRESHOLD bounds the foreground, and with it the growth.
    Seen in: JIA-Lab-research/FocalsConv#27: 17 to 19 GB for three lidar samples; its author's
        advice is to lower the ratio of 0.5 to 0.3.
    """
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
        key="MODEL.BACKBONE_3D.FOCAL_ENCODER",
        module=kept.module,
        detail=(
            f"DSVT runs on all of them: the step peaks at {format_size(peaks[0])} with "
            f"{kept.used:,} voxels kept and at {format_size(peaks[1])} at the upper end, whatever "
            "the BEV map does.",
            "FOCAL_TOPK: True with a small FOCAL_THRESHOLD bounds the foreground, and with it the "
            f"growth. --assume {kept.site}=COUNT pins the count.",
        ),
    )


def focal_growth_fixes(step: Fixable) -> Iterator[Fix]:
    """Yield a bound on the voxels that may spawn neighbours, or a higher threshold for them."""
    backbone = None if step.config is None else step.config.model.backbone_3d
    if isinstance(backbone, FocalDsvtSettings):
        encoder = backbone.focal_encoder
        if encoder.focal_topk:
            return
        yield _top_voxels(_ENCODER, "FOCAL_TOPK", "FOCAL_THRESHOLD")
        if encoder.focal_threshold < _RAISED_THRESHOLD:
            yield Fix(
                id="focal-threshold",
                group="growth",
                price=Price.MODEL,
                title=f"voxels spawn neighbours from an importance of {_RAISED_THRESHOLD} upwards",
                loses="growth around less important voxels; bounds nothing where all are important",
                edits={(*_ENCODER, "FOCAL_THRESHOLD"): _RAISED_THRESHOLD},
            )
    elif isinstance(backbone, VoxelFocalBackboneSettings) and (
        not backbone.topk or backbone.threshold > _TOPK_SHARE
    ):
        yield _top_voxels(_BACKBONE, "TOPK", "THRESHOLD")


def _top_voxels(section: tuple[str, ...], switch: str, share: str) -> Fix:
    return Fix(
        id="focal-topk",
        group="growth",
        price=Price.MODEL,
        title=f"only the top {_TOPK_SHARE:.0%} of the voxels may spawn neighbours",
        loses="growth around the other voxels; the threshold holds for neighbours too",
        edits={(*section, switch): True, (*section, share): _TOPK_SHARE},
    )
