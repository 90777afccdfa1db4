"""A sparse layer's features reach the 2^31 bytes that spconv's kernels can address.

What it means:
    Voxels x channels x bytes of one sparse convolution's input or output come to 2^31 - 1 or more.
    spconv 2.x stops there with "your data exceed int32 range", in the forward pass or only in the
    backward pass, on any GPU.

What is printed:
    your data exceed int32 range

    < int_max assert fail

    an illegal memory access was encountered (in backbone_3d)

    CUDA error 700 (in backbone_3d)

    failed with error 700 (in backbone_3d)

Why it happens:
    spconv's compiled kernels address features by a 32-bit byte offset. All samples of a batch share
    one tensor, so the batch counts too.

How to fix:
    Fewer voxels (a smaller batch, a cap, a coarser grid, less growth), fewer channels where the
    voxels are many, or half precision, which halves the bytes.

Seen in:
    traveller59/spconv#656 (https://github.com/traveller59/spconv/issues/656): 7,135,456 voxels of
    192 channels pass the forward pass and fail in the backward pass.
"""

import re
from collections.abc import Iterator

from bevdiag.memory.events import Phase
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding

_LIMIT_BYTES = 2**31 - 1
_LAYER = re.compile(r"(SubM|Sparse)(Inverse)?Conv(Transpose)?\dd")
"""The names of spconv's convolutions."""


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding for every sparse convolution whose features cannot be addressed."""
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
        if nbytes >= _LIMIT_BYTES:
            seen.add(event.module)
            yield finding(
                "BEV401",
                f"{event.module} works on {voxels:,} voxels x {widest:,} channels = "
                f"{format_size(nbytes)}: spconv addresses at most 2^31 - 1 bytes",
                module=event.module,
            )
