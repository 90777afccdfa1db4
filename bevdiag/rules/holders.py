"""Rules about what holds much of the memory, and the voxels that values add to it."""

from collections.abc import Iterator
from math import prod

from bevdiag.config.backbone_settings import FocalDsvtSettings, VoxelFocalBackboneSettings
from bevdiag.config.head_settings import AnchorHeadSettings
from bevdiag.memory.events import Alloc, Category
from bevdiag.memory.history import saved_bytes_by_module
from bevdiag.memory.requests import GemmWorkspace
from bevdiag.memory.sizes import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import (
    PROCESSORS,
    VOXELIZER,
    Finding,
    Fix,
    Fixable,
    Price,
    StepEvidence,
    TraceEvidence,
)
from bevdiag.trace.kept_voxels import KeptVoxels
from bevdiag.trace.wiring import is_inside

_FEATURES = ("voxel_features", "pillar_features")
_VOXEL_MODULES = ("vfe", "backbone_3d")
_SHARE = 0.4
_NOTEWORTHY_BYTES = 2**30
_NOTEWORTHY_FILL = 0.5
_SYNTHETIC = "a synthetic scene does not say how full the voxels of your data are"
_HEAD = "dense_head"
_COMPUTED = (Category.ACTIVATION, Category.TEMPORARY)


def unbounded_dynamic_voxels(evidence: StepEvidence) -> Iterator[Finding]:
    """The number of voxels has no cap: the next scene decides what a step needs.

    What it means: The encoder groups all points of a scene itself. The figures hold for this scene;
        one with more occupied cells takes more memory, and nothing in the config stops it.
    Why it happens: Dynamic voxel encoders have neither MAX_NUMBER_OF_VOXELS nor
        MAX_POINTS_PER_VOXEL: they lose no point, and bound no memory.
    How to fix: Inspect with the fullest scenes of the data set (--points), sample the points
        (sample_points in the DATA_PROCESSOR), narrow the range, or take an encoder with capped
        voxels.
    Seen in: open-mmlab/mmdetection3d#239: out of memory with dynamic voxels where capped ones ran,
        on scenes with many points.
    """
    sampled = evidence.document.get(".".join((*PROCESSORS, "sample_points", "NUM_POINTS")))
    if evidence.config.data.max_voxels is not None or sampled is not None:
        return
    shapes = [e.shape for e in evidence.trace.wiring.written_inside("vfe") if e.key in _FEATURES]
    if not shapes or shapes[0] is None:
        return
    voxels = shapes[0][0]
    saved = saved_bytes_by_module(evidence.trace.stream)
    each = sum(saved.get(module, 0) for module in _VOXEL_MODULES) // voxels
    yield finding(
        "BEV303",
        f"nothing caps the voxels: this scene has {voxels:,} from {len(evidence.batch.points):,} "
        f"points, and each keeps about {format_size(each)} for the backward pass",
        key="MODEL.VFE.NAME",
        module="vfe",
    )


def peak_dominated_by_one_block(evidence: TraceEvidence) -> Iterator[Finding]:
    """One block makes up most of the peak, so there is one thing to fix.

    What it means: More than 40 % of the memory at the highest moment is a single allocation.
        Everything else could vanish and the step would still need it.
    Why it happens: A tensor or a workspace grew by a product of sizes (channels x height, anchors x
        cells) while the rest of the model grew by one of them.
    How to fix: Change what sizes that block: the finding names its module and operation.
    Seen in: skyhehe123/VoxSeT#9: one attention buffer of 47.58 GiB in a model that is small
        otherwise.
    """
    holders, total = evidence.profile.holders, evidence.profile.peak.allocated_bytes
    if not holders or holders[0].nbytes <= _SHARE * total:
        return
    alloc = holders[0].alloc
    if isinstance(alloc.request, GemmWorkspace):  # of a fixed size, whatever the model
        return
    yield finding(
        "BEV304",
        f"one block is {holders[0].nbytes / total:.0%} of the peak: "
        f"{format_size(holders[0].nbytes)} of {alloc.category.value} in "
        f"{alloc.module or 'the detector'} ({alloc.op})",
        module=alloc.module,
    )


def padded_voxel_features(evidence: StepEvidence) -> Iterator[Finding]:
    """The voxel encoder works on padding.

    What it means: A GiB or more of what the encoder keeps for the backward pass is slots of voxels
        that hold no point.
    Why it happens: transform_points_to_voxels pads every voxel to MAX_POINTS_PER_VOXEL points, and
        encoders of PointNet's kind run on all [M, P, C] slots. Few voxels are ever full.
    How to fix: Lower MAX_POINTS_PER_VOXEL to what most voxels hold, or take an encoder that groups
        the points themselves (DynPillarVFE, DynamicVoxelVFE), which has no slots to pad.
    Seen in: open-mmlab/mmdetection3d#239: out of memory in the voxel encoder, from a padded canvas
        of voxels x points x features.
    """
    voxels = evidence.batch.voxels
    slots = evidence.config.data.max_points_per_voxel
    if voxels is None or slots is None:
        return
    saved = saved_bytes_by_module(evidence.trace.stream).get("vfe", 0)
    points = sum(int(sample.num_points.sum()) for sample in voxels)
    fill = points / (evidence.batch.num_voxels * slots)
    if saved * (1 - fill) < _NOTEWORTHY_BYTES or fill > _NOTEWORTHY_FILL:
        return
    yield finding(
        "BEV305",
        f"the voxel encoder keeps {format_size(saved)} for the backward pass, {1 - fill:.1%} of it "
        f"padding: {slots} slots a voxel for {points / evidence.batch.num_voxels:.1f} points on "
        "average",
        key="DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_POINTS_PER_VOXEL",
        module="vfe",
    )


def padded_voxel_features_fixes(step: Fixable) -> Iterator[Fix]:
    """As many slots as the fullest voxel fills."""
    voxels = step.batch().voxels
    if voxels is None or step.max_points is None or step.max_voxels is None:
        return
    fullest = max(int(sample.num_points.max()) for sample in voxels)
    if fullest < step.max_points:
        yield Fix(
            id="fewer-points",
            group="points",
            price=Price.NOTHING,
            title=f"{fullest} point slots a voxel instead of {step.max_points}",
            loses=f"nothing on this scene: no voxel holds more than {fullest} points",
            edits={(*VOXELIZER, "MAX_POINTS_PER_VOXEL"): fullest},
            unsafe="" if step.own_points else _SYNTHETIC,
        )


def attention_maps(evidence: TraceEvidence) -> Iterator[Finding]:
    """The attention maps themselves take a GiB or more.

    What it means: Every attention layer keeps a matrix of S x S weights for each set of voxels and
        each head until the backward pass.
    Why it happens: nn.MultiheadAttention that is asked for its weights, or hand-written attention,
        materializes the softmax. Its size grows with the number of sets and with the square of S,
        not with the channels.
    How to fix: Smaller sets (set_info) or fewer heads, fewer voxels, checkpointing of the blocks,
        or scaled_dot_product_attention without weights, which never makes the matrix.
    Seen in: skyhehe123/VoxSeT#9: 47.58 GiB asked for by one attention layer.
    """
    maps = [block for block in evidence.profile.holders if _is_map(block.alloc)]
    total = sum(block.nbytes for block in maps)
    if total < _NOTEWORTHY_BYTES:
        return
    largest = maps[0].alloc
    *sets, rows, columns = largest.shape
    yield finding(
        "BEV309",
        f"{len(maps)} attention maps hold {format_size(total)} at the peak; the largest has "
        f"{prod(sets):,} matrices of {rows} x {columns}",
        module=largest.module,
    )


def _is_map(alloc: Alloc) -> bool:
    # The logarithm is a loss's: attention has no use for it.
    is_softmax = "softmax" in alloc.op and "log_softmax" not in alloc.op
    return is_softmax and len(alloc.shape) >= 3 and min(alloc.shape[-2:]) > 1


def dense_anchors(evidence: StepEvidence) -> Iterator[Finding]:
    """The anchors of every cell take up much of the peak.

    What it means: An anchor head predicts, assigns and rates A boxes at each of H x W cells. What
        it holds for them at the peak is more than a GiB and more than two fifths of all memory.
    Why it happens: A is the sum over classes of sizes x rotations x heights, and the cells are
        those of the whole range. Both multiply with the batch.
    How to fix: A larger feature_map_stride, fewer sizes, rotations and heights, or a head without
        anchors (CenterHead).
    Seen in: open-mmlab/OpenPCDet#1546: SECOND on a wide range with dozens of anchor sizes.
    """
    head = evidence.config.model.dense_head
    if not isinstance(head, AnchorHeadSettings):
        return
    held = sum(block.nbytes for block in evidence.profile.holders if _is_head(block.alloc))
    maps = [e.shape for e in evidence.trace.wiring.read_inside(_HEAD) if e.carries_gradient]
    total = evidence.profile.peak.allocated_bytes
    if held < _NOTEWORTHY_BYTES or held <= _SHARE * total or not maps or maps[0] is None:
        return
    height, width = maps[0][-2:]
    yield finding(
        "BEV310",
        f"{head.num_anchors} anchors at each of {height} x {width} cells are "
        f"{head.num_anchors * height * width:,} a sample; the head holds {format_size(held)} of "
        f"the peak's {format_size(total)} for them",
        key="MODEL.DENSE_HEAD.ANCHOR_GENERATOR_CONFIG",
        module=_HEAD,
    )


def _is_head(alloc: Alloc) -> bool:
    # The losses run after the forward pass of the last module, in the detector's own name.
    return alloc.category in _COMPUTED and (not alloc.module or is_inside(alloc.module, _HEAD))


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
            yield _growth(evidence, kept)


def _growth(evidence: StepEvidence, kept: KeptVoxels) -> Finding:
    low, high, incoming = kept.low, kept.high, kept.incoming
    peak = format_size(evidence.profile.peak.allocated_bytes)
    highest = format_size(evidence.high.peak.allocated_bytes)
    counts = f"turns {incoming:,} voxels into {low:,} to {high:,}"
    if isinstance(evidence.config.model.backbone_3d, FocalDsvtSettings):
        key = "MODEL.BACKBONE_3D.FOCAL_ENCODER"
        times = f"{low / incoming:.1f} to {high / incoming:.1f} times"
        message = f"the focal encoder {counts}: {times}, by feature values"
        effect = (
            f"DSVT runs on all of them: the step peaks at {peak} with {kept.used:,} voxels kept "
            f"and at {highest} at the upper end, whatever the BEV map does."
        )
        bound = "FOCAL_TOPK: True with a small FOCAL_THRESHOLD"
    else:
        key = "MODEL.BACKBONE_3D.NAME"
        message = f"{kept.module} {counts}, by feature values"
        effect = (
            f"The step peaks at {peak} with {kept.used:,} voxels kept here and at {highest} with "
            "the most that every focal convolution can keep."
        )
        bound = "A smaller THRESHOLD with TOPK"
    advice = (
        f"{bound} bounds the foreground, and with it the growth. --assume {kept.site}=COUNT pins "
        "the count."
    )
    return finding("BEV307", message, key=key, module=kept.module, detail=(effect, advice))


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
