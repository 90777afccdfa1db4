"""Rules about what 32 bits cannot index."""

import re
from collections.abc import Iterator

from bevdiag.memory.conv import INT32_MAX, conv_backend
from bevdiag.memory.events import Alloc, Category, EventStream, Phase
from bevdiag.memory.requests import ConvCall
from bevdiag.memory.sizes import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding, TraceEvidence

_LAYER = re.compile(r"(SubM|Sparse)(Inverse)?Conv(Transpose)?\dd")
"""The names of spconv's convolutions."""


def spconv_int32_bytes(evidence: TraceEvidence) -> Iterator[Finding]:
    """A sparse layer's features reach the 2^31 bytes that spconv's kernels can address.

    What it means: Voxels x channels x bytes of one sparse convolution's input or output come to
        2^31 - 1 or more. spconv 2.x stops there with "your data exceed int32 range", in the forward
        pass or only in the backward pass, on any GPU.
    What is printed:
        your data exceed int32 range
        < int_max assert fail
        an illegal memory access was encountered (in backbone_3d)
        CUDA error 700 (in backbone_3d)
        failed with error 700 (in backbone_3d)
    Why it happens: spconv's compiled kernels address features by a 32-bit byte offset. All samples
        of a batch share one tensor, so the batch counts too.
    How to fix: Fewer voxels (a smaller batch, a cap, a coarser grid, less growth), fewer channels
        where the voxels are many, or half precision, which halves the bytes.
    Seen in: traveller59/spconv#656: 7,135,456 voxels of 192 channels pass the forward pass and fail
        in the backward pass.
    """
    channels = {
        layer.name: layer.in_channels or 0
        for layer in evidence.trace.layers
        if _LAYER.fullmatch(layer.type)
    }
    seen: set[str] = set()
    stream = evidence.trace.stream
    for event in stream.allocs(stream.where(phase=Phase.FORWARD)):
        if event.module not in channels or event.module in seen or len(event.shape) != 2:
            continue
        voxels, out_channels = event.shape
        widest = max(out_channels, channels[event.module])
        nbytes = event.nbytes // max(out_channels, 1) * widest
        if nbytes >= INT32_MAX:
            seen.add(event.module)
            yield finding(
                "BEV401",
                f"{event.module} works on {voxels:,} voxels x {widest:,} channels = "
                f"{format_size(nbytes)}: spconv addresses at most 2^31 - 1 bytes",
                module=event.module,
            )


def spconv_64_bit_keys(evidence: TraceEvidence) -> Iterator[Finding]:
    """The grid has more cells than 32-bit keys can tell apart, so spconv's hash tables use 64.

    What it means: The model works, but the tables that find a layer's neighbours take half as much
        again and are slower to search; keys and their sorting take twice as much.
    Why it happens: spconv numbers the cells of the whole grid, empty ones and all samples included.
        From 2^31 - 1 cells on the numbers need 64 bits, whatever the number of voxels.
    How to fix: Often nothing. A smaller range, larger voxels or fewer samples a step bring the keys
        back to 32 bits; spconv 1.x would refuse such a grid altogether.
    Seen in: traveller59/spconv#545: why a grid whose cells 32 bits cannot number works at all.
    """
    stream = evidence.trace.stream
    rulebooks = stream.allocs(stream.where(category=Category.RULEBOOK, step=1))
    keys = [event for event in rulebooks if event.dtype == "int64"]
    if not keys:
        return
    layers = list(dict.fromkeys(event.module for event in keys))
    largest = max(keys, key=lambda event: event.nbytes)
    yield finding(
        "BEV402",
        f"{len(layers)} sparse layers look for neighbours with 64-bit keys: their grids have 2^31 "
        f"- 1 cells or more, all samples together",
        module=layers[0],
        detail=(
            f"The largest table of keys is {format_size(largest.nbytes)}, in {largest.module}; "
            "with 32 bits it would be half of that.",
        ),
    )


def convolution_beyond_32_bit(evidence: TraceEvidence) -> Iterator[Finding]:
    """cuDNN is bypassed because one sample exceeds 2^31 - 1 elements.

    What it means: A convolution's input or output has more elements in one sample than 32-bit
        indices reach. The target's cuDNN does not take it, and a slow kernel runs with an im2col
        buffer that is the kernel's volume times larger than the map itself.
    What is printed:
        Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to be true
    Why it happens: PyTorch may split a batch to keep cuDNN's indices small, but not a sample.
        Before cuDNN 9.3 the convolution falls back to the native kernel, workspace and all.
    How to fix: Use a torch that ships with cuDNN 9.3 or later (the default wheels of torch 2.7 and
        later), or make the sample smaller: fewer channels, a coarser grid, or a tiled map.
    Seen in: pytorch/pytorch#95024: 110 GiB asked for when one dimension grew from 361 to 362.
    """
    seen: set[str] = set()
    for alloc, call in convolutions(evidence.trace.stream):
        choice = conv_backend(call, evidence.target.cudnn)
        is_bypassed = choice.needs_64bit and choice.refused_by_cudnn
        if not is_bypassed or choice.columns is None or alloc.module in seen:
            continue
        seen.add(alloc.module)
        version = ".".join(map(str, evidence.target.cudnn))
        yield finding(
            "BEV403",
            f"{alloc.module}: one sample has {choice.elements:,} elements, so "
            f"cuDNN {version} is bypassed and {choice.backend.value} asks for "
            f"{format_size(choice.columns.nbytes)}",
            module=alloc.module,
            detail=("cuDNN 9.3 and later take it (the default wheels of torch 2.7 and later).",),
        )


def convolutions(stream: EventStream) -> Iterator[tuple[Alloc, ConvCall]]:
    """Yield the workspace requests of the first step's convolutions, in order."""
    for event in stream.allocs(stream.where(step=1) & (stream.request >= 0)):
        if isinstance(event.request, ConvCall):
            yield event, event.request


def first_bev_convolution(stream: EventStream) -> ConvCall | None:
    """Return the first convolution of the 2D backbone, as it runs forward."""
    for alloc, call in convolutions(stream):
        if alloc.phase is Phase.FORWARD and alloc.module.startswith("backbone_2d"):
            return call
    return None
