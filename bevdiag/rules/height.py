"""Rules about the height, which the BEV map gets as channels or not at all."""

from collections.abc import Iterator
from itertools import accumulate
from math import prod

from bevdiag.config import DetectorConfig
from bevdiag.config.backbone_settings import FocalDsvtSettings
from bevdiag.config.bev_settings import SparseHeightCompressionSettings
from bevdiag.memory.conv import CUDNN_64BIT, INT32_MAX, Backend, conv_backend
from bevdiag.memory.events import Phase
from bevdiag.memory.requests import ConvCall
from bevdiag.memory.sizes import format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.memory.workspaces import conv_workspace
from bevdiag.models.interfaces import Changes, compression_changes, map_input_of
from bevdiag.rules.codes import finding
from bevdiag.rules.declared import height_strides
from bevdiag.rules.finding import OWN_MODULE, Finding, Fix, Fixable, Price, Severity, StepEvidence
from bevdiag.rules.index_limits import first_bev_convolution

BLOWUP_CHANNELS = 1024
"""Twice the widest BEV map (512 channels) of the models that OpenPCDet ships trained."""
_LAST_WITHOUT_64BIT = (CUDNN_64BIT[0], CUDNN_64BIT[1] - 1, 0)
_NOTEWORTHY_BYTES = 2**30
_MAPPER = "map_to_bev_module"
_MAP = ("MODEL", "MAP_TO_BEV")
_DSVT = ("MODEL", "BACKBONE_3D", "DSVT")
_COMPRESSIONS = {
    "max": "height is reduced to its maximum: targets above each other merge",
    "mean": "height is averaged, empty cells included: sparse columns fade",
    "learned": "a learned projection of all heights; keeps the flattened volume in memory",
    "sparse_max": "the same map as max, without the dense volume",
    "sparse_mean": "the same map as mean, without the dense volume",
    "sparse_sum": "height is summed: columns with more voxels weigh more",
}


def height_flatten_blowup(evidence: StepEvidence) -> Iterator[Finding]:
    """Flattening the height multiplies the channels of the BEV map.

    What it means: HeightCompression lays the D levels of a volume side by side as channels, so the
        first 2D convolution has C x D input channels. With many of them the map and that
        convolution's workspace are what fills the GPU.
    Why it happens: HeightCompression was made for backbones that bring the height down to a few
        levels first. Behind one that keeps it, every level becomes another set of channels. Beyond
        2^31 - 1 elements a sample, PyTorch before cuDNN 9.3 also leaves cuDNN for an im2col buffer
        that is the kernel's area times larger than the map.
    How to fix: Bring the height down before the map (strides along z in the 3D stage), or reduce it
        instead of flattening it: SparseHeightCompression with MODE sparse_max makes the map without
        the volume.
    Seen in: pytorch/pytorch#128947: 161.37 GiB asked for by one convolution whose sample is beyond
        32-bit indices, by the arithmetic that makes 75.10 GiB of 22,400 channels on 200 x 500
        cells.
    """
    map_input = evidence.map_input
    channels = map_input.channels * map_input.depth
    if not map_input.flattens or channels <= BLOWUP_CHANNELS:
        return
    call = first_bev_convolution(evidence.trace.stream)
    # Beyond 32-bit indices no setting of the GPU helps; below, the map is merely expensive.
    too_large = call is not None and conv_backend(call, evidence.target.cudnn).needs_64bit
    yield finding(
        "BEV203",
        f"the BEV map has {channels} channels: {map_input.channels} x {map_input.depth} height "
        "levels are flattened into it",
        key="MODEL.MAP_TO_BEV.NAME",
        module="map_to_bev_module",
        severity=None if too_large else Severity.WARNING,
        detail=_lesson(evidence, call) if call is not None else (),
    )


def _lesson(evidence: StepEvidence, call: ConvCall) -> tuple[str, ...]:
    map_input = evidence.map_input
    _, channels, height, width = call.input_shape
    out_channels, _, *kernel = call.weight_shape
    weights = channels * out_channels * kernel[0] * kernel[1]
    elements = channels * height * width
    lessons = [
        f"{map_input.reads} hands over a volume of {map_input.channels} channels on "
        f"{map_input.depth} x {map_input.height} x {map_input.width} voxels; HeightCompression "
        f"turns each of its {map_input.depth} levels into {map_input.channels} channels.",
        f"The first convolution of the 2D backbone then has {channels} x {out_channels} x "
        f"{kernel[0]} x {kernel[1]} = {weights:,} weights.",
    ]
    if elements <= INT32_MAX:
        return tuple(lessons)
    lessons.append(
        f"Its padded input has {channels} x {height} x {width} = {elements:,} elements in one "
        f"sample, more than 2^31 - 1 = {INT32_MAX:,}: it cannot be indexed with 32 bits."
    )
    old = conv_backend(call, _LAST_WITHOUT_64BIT)
    columns = old.columns
    if old.backend is Backend.SLOW_2D and columns is not None:
        lessons.append(
            "PyTorch with cuDNN before 9.3 therefore bypasses cuDNN and asks for an im2col buffer "
            f"of {columns.channels} * {columns.kernel_volume} x {columns.positions:,} x "
            f"{columns.element_bytes} B = {format_size(columns.nbytes)}, for one sample, in "
            "backbone_2d's first convolution. It is a workspace, not an activation."
        )
    new = conv_workspace(call, evidence.target) if evidence.target.cudnn >= CUDNN_64BIT else None
    if new is not None:
        version = ".".join(map(str, evidence.target.cudnn))
        lessons.append(
            f"cuDNN {version} takes the convolution and asks for a workspace of "
            f"{format_size(new.expected)} instead: less, but the flattened map and its copies stay."
        )
    return tuple(lessons)


def densified_volume(evidence: StepEvidence) -> Iterator[Finding]:
    """A sparse volume is made dense, and for a moment it is there twice.

    What it means: A sparse tensor of a GiB or more (dense) is turned into [B, C, D, H, W], most of
        it zeros.
    Why it happens: spconv's dense() fills a channels-last tensor and then copies it into
        channels-first order, so both are alive at once. Reducing the height afterwards makes the
        map small, not the volume.
    How to fix: Reduce the height on the sparse tensor: SparseHeightCompression with MODE
        sparse_max, sparse_mean or sparse_sum makes the same map without the volume.
    Seen in: traveller59/second.pytorch#82: memory that follows the grid's volume rather than its
        occupied voxels.
    """
    map_input, batch_size = evidence.map_input, evidence.batch.batch_size
    cells = batch_size * map_input.depth * map_input.height * map_input.width
    stream = evidence.trace.stream
    volumes = [
        event
        for event in stream.allocs(stream.where(phase=Phase.FORWARD, step=1))
        if event.module.startswith(_MAPPER)
        and len(event.shape) == 5
        and prod(event.shape) == cells * map_input.channels
    ]
    if not volumes or volumes[0].nbytes < _NOTEWORTHY_BYTES:
        return
    # Behind FocalDSVT the volume holds what the encoder kept; elsewhere the count is not at hand.
    is_kept = isinstance(evidence.config.model.backbone_3d, FocalDsvtSettings)
    occupied = "".join(
        f", for {kept.used / cells:.1%} of occupied cells"
        for kept in evidence.kept_voxels
        if is_kept
    )
    yield finding(
        "BEV306",
        f"a sparse volume is made dense: {format_size(volumes[0].nbytes)}, held {len(volumes)} "
        f"times at once{occupied}",
        key="MODEL.MAP_TO_BEV.NAME",
        module=_MAPPER,
        detail=(
            "SparseHeightCompression with MODE sparse_max, sparse_mean or sparse_sum makes the "
            "same map as the dense reduction without the volume.",
        ),
    )


def cheaper_collapse(evidence: StepEvidence) -> Iterator[Finding]:
    """The height could be collapsed before the map is made, not flattened into it.

    What it means: The volume's levels become channels of the map, and the first 2D convolution has
        as many times the weights. A maximum or mean over the occupied levels makes a map with the
        volume's own channels.
    Why it happens: HeightCompression is cheap behind a backbone that leaves two levels. Behind one
        that keeps more, the dense volume, the map and the first convolution all grow with the
        levels.
    How to fix: SparseHeightCompression with MODE sparse_max, or strides along the height before the
        map (HEIGHT_STRIDES). Either loses at which height a feature was.
    Seen in: open-mmlab/OpenPCDet#1234: a request to lift the tie between the number of height
        levels and the map's channels.
    """
    map_input = evidence.map_input
    if evidence.verdict not in (Verdict.OVER, Verdict.DEPENDS):
        return
    call = first_bev_convolution(evidence.trace.stream)
    if not map_input.flattens or map_input.depth == 1 or call is None:
        return
    now, then = map_input.channels * map_input.depth, map_input.channels
    out_channels, _, height, width = call.weight_shape
    weights = (now - then) * out_channels * height * width
    yield finding(
        "BEV503",
        f"{map_input.depth} levels are flattened into {now:,} channels: collapsed with sparse_max "
        f"the map has {then}, and the first convolution {weights:,} weights fewer",
        key="MODEL.MAP_TO_BEV.NAME",
        module="map_to_bev_module",
    )


def cheaper_collapse_fixes(step: Fixable) -> Iterator[Fix]:
    """Every way that bevdiag knows to turn the height into channels, the report's own first."""
    if step.config is not None:
        yield from _compressions(step.config)
        yield from _height_in_dsvt(step.config)
        yield from _height_strides(step.config)


def _compressions(config: DetectorConfig) -> Iterator[Fix]:
    if not map_input_of(config).is_volume:
        return
    mapping = config.model.map_to_bev
    current = mapping.mode if isinstance(mapping, SparseHeightCompressionSettings) else "none"
    for mode, loses in _COMPRESSIONS.items():
        if mode != current:
            yield Fix(
                id=f"compression-{mode}",
                group="height",
                price=Price.MODEL,
                title=f"{mode} compression of the height",
                loses=loses,
                edits=compression_changes(config, mode),
                needs=OWN_MODULE.format(name="SparseHeightCompression"),
            )


def _height_in_dsvt(config: DetectorConfig) -> Iterator[Fix]:
    """Stages that pool the real height away, one block each; the last stage is read flat."""
    map_input, backbone = map_input_of(config), config.model.backbone_3d
    if not isinstance(backbone, FocalDsvtSettings):
        return
    dsvt = backbone.dsvt
    z = dsvt.input_layer.sparse_shape[2]
    if map_input.reads != "dsvt" or dsvt.num_stages > 1 or z == 1:
        return
    strides = height_strides(z)
    heights = list(accumulate(strides, lambda height, stride: -(-height // stride), initial=z))
    stages = len(heights)
    x, y, _ = dsvt.input_layer.window_shape[0]
    shift_x, shift_y, _ = dsvt.input_layer.shifts_list[0][1]
    shared: Changes = {
        ("d_model",): [dsvt.d_model[0]] * stages,
        ("set_info",): [[dsvt.set_info[0][0], 1]] * stages,
    }
    inputs: Changes = {
        **shared,
        ("downsample_stride",): [[1, 1, stride] for stride in strides],
        # A window as high as the stage: there is nothing above or below to attend to.
        ("window_shape",): [[x, y, height] for height in heights],
        ("shifts_list",): [[[0, 0, 0], [shift_x, shift_y, 0]]] * stages,
    }
    edits: Changes = {
        **{("INPUT_LAYER", *key): value for key, value in inputs.items()},
        **shared,
        ("block_name",): ["DSVTBlock"] * stages,
        ("nhead",): [dsvt.nhead[0]] * stages,
        ("dim_feedforward",): [dsvt.dim_feedforward[0]] * stages,
        ("reduction_type",): "attention",
    }
    yield Fix(
        id="dsvt-height-stages",
        group="height",
        price=Price.MODEL,
        title=f"DSVT pools the height {z} = {' x '.join(map(str, strides))} in {stages} stages",
        loses="one DSVT block a stage instead of all at full height",
        edits={
            **{(*_DSVT, *key): value for key, value in edits.items()},
            (*_MAP, "NAME"): "HeightCompression",
            (*_MAP, "NUM_BEV_FEATURES"): map_input.channels,
        },
    )


def _height_strides(config: DetectorConfig) -> Iterator[Fix]:
    map_input = map_input_of(config)
    if map_input.depth == 1 or not map_input.is_volume:
        return
    strides = height_strides(map_input.depth)
    yield Fix(
        id="height-strides",
        group="height",
        price=Price.MODEL,
        title=f"strided 3D convolutions bring the height {map_input.depth} to 1 before the map",
        loses="height resolution, by learned convolutions",
        needs=OWN_MODULE.format(name="HEIGHT_STRIDES"),
        edits={
            (*_MAP, "NAME"): "HeightCompression",
            (*_MAP, "HEIGHT_STRIDES"): strides,
            (*_MAP, "NUM_BEV_FEATURES"): map_input.channels,
        },
    )
