"""Flattening the height multiplies the channels of the BEV map.

What it means:
    HeightCompression lays the D levels of a volume side by side as channels, so the first 2D
    convolution has C x D input channels. With many of them the map and that convolution's
    workspace are what fills the GPU.

Why it happens:
    HeightCompression was made for backbones that bring the height down to a few levels first.
    Behind one that keeps it, every level becomes another set of channels. Beyond 2^31 - 1 elements
    a sample, PyTorch before cuDNN 9.3 also leaves cuDNN for an im2col buffer that is the kernel's
    area times larger than the map.

How to fix:
    Bring the height down before the map (strides along z in the 3D stage), or reduce it instead of
    flattening it: SparseHeightCompression with MODE sparse_max makes the map without the volume.

Seen in:
    pytorch/pytorch#128947 (https://github.com/pytorch/pytorch/issues/128947): 161.37 GiB asked for
    by one convolution whose sample is beyond 32-bit indices, by the arithmetic that makes 75.10 GiB
    of 22,400 channels on 200 x 500 cells.
"""

from collections.abc import Iterator

from bevdiag.memory.conv import CUDNN_64BIT, INT32_MAX, Backend, conv_backend
from bevdiag.memory.oom import format_size
from bevdiag.memory.requests import ConvCall
from bevdiag.memory.workspaces import conv_workspace
from bevdiag.rules.codes import finding
from bevdiag.rules.convolutions import first_bev_convolution
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding, Severity

BLOWUP_CHANNELS = 1024
"""Twice the widest BEV map (512 channels) of the models that OpenPCDet ships trained."""

_LAST_WITHOUT_64BIT = (CUDNN_64BIT[0], CUDNN_64BIT[1] - 1, 0)


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where the flattened map has more channels than `BLOWUP_CHANNELS`."""
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
        document=evidence.document,
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
    lines = [
        f"{map_input.reads} hands over a volume of {map_input.channels} channels on "
        f"{map_input.depth} x {map_input.height} x {map_input.width} voxels; HeightCompression "
        f"turns each of its {map_input.depth} levels into {map_input.channels} channels.",
        f"The first convolution of the 2D backbone then has {channels} x {out_channels} x "
        f"{kernel[0]} x {kernel[1]} = {weights:,} weights.",
    ]
    if elements > INT32_MAX:
        lines += _beyond_int32(evidence, call, elements)
    return tuple(lines)


def _beyond_int32(evidence: StepEvidence, call: ConvCall, elements: int) -> list[str]:
    _, channels, height, width = call.input_shape
    lines = [
        f"Its padded input has {channels} x {height} x {width} = {elements:,} elements in one "
        f"sample, more than 2^31 - 1 = {INT32_MAX:,}: it cannot be indexed with 32 bits.",
    ]
    old = conv_backend(call, _LAST_WITHOUT_64BIT)
    if old.backend is Backend.SLOW_2D and old.columns is not None:
        columns = old.columns
        lines.append(
            "PyTorch with cuDNN before 9.3 therefore bypasses cuDNN and asks for an im2col buffer "
            f"of {columns.channels} * {columns.kernel_volume} x {columns.positions:,} x "
            f"{columns.element_bytes} B = {format_size(columns.nbytes)}, for one sample, in "
            "backbone_2d's first convolution. It is a workspace, not an activation."
        )
    new = conv_workspace(call, evidence.target) if evidence.target.cudnn >= CUDNN_64BIT else None
    if new is not None:
        version = ".".join(map(str, evidence.target.cudnn))
        lines.append(
            f"cuDNN {version} takes the convolution and asks for a workspace of "
            f"{format_size(new.expected)} instead: less, but the flattened map and its copies stay."
        )
    return lines
