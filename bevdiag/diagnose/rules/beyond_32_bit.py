"""BEV403: cuDNN is bypassed because one sample exceeds 2^31 - 1 elements.

Before cuDNN 9.3 PyTorch gives such a convolution to a slow kernel, whose im2col buffer is the
kernel's volume times larger than the map itself.
"""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.convolutions import convolutions
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding
from bevdiag.memory.conv import conv_backend
from bevdiag.memory.oom import format_size


def check(evidence: Evidence) -> Iterator[Finding]:
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
