"""cuDNN is bypassed because one sample exceeds 2^31 - 1 elements.

What it means:
    A convolution's input or output has more elements in one sample than 32-bit indices reach.
    The target's cuDNN does not take it, and a slow kernel runs with an im2col buffer that is the
    kernel's volume times larger than the map itself.

What is printed:
    Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to be true

Why it happens:
    PyTorch may split a batch to keep cuDNN's indices small, but not a sample. Before cuDNN 9.3
    the convolution falls back to the native kernel, workspace and all.

How to fix:
    Use a torch that ships with cuDNN 9.3 or later (the default wheels of torch 2.7 and later), or
    make the sample smaller: fewer channels, a coarser grid, or a tiled map.

Seen in:
    pytorch/pytorch#95024 (https://github.com/pytorch/pytorch/issues/95024): 110 GiB asked for
    when one dimension grew from 361 to 362.
"""

from collections.abc import Iterator

from bevdiag.memory.conv import conv_backend
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.convolutions import convolutions
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield one finding a module whose convolution the target's cuDNN does not take."""
    seen: set[str] = set()
    for alloc, call in convolutions(evidence.trace.stream):
        choice = conv_backend(call, evidence.target.cudnn)
        if not (choice.needs_64bit and choice.refused_by_cudnn) or alloc.module in seen:
            continue
        if choice.columns is None:
            continue
        seen.add(alloc.module)
        version = ".".join(map(str, evidence.target.cudnn))
        yield finding(
            "BEV403",
            f"{alloc.module}: one sample has {max(choice.input_elements, choice.output_elements):,}"
            f" elements, so cuDNN {version} is bypassed and {choice.backend.value} asks for "
            f"{format_size(choice.columns.nbytes)}",
            module=alloc.module,
            detail=("cuDNN 9.3 and later take it (the default wheels of torch 2.7 and later).",),
        )
