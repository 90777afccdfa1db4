"""cuDNN before 9.3 is bypassed where a sample has more than 2^31 - 1 elements.

What it means:
    A convolution whose input or output exceeds 2^31 - 1 elements in one sample goes to a slow
    kernel, whose im2col buffer is the kernel's area times larger than the map. Smaller maps are not
    affected.

Why it happens:
    PyTorch gives convolutions that need 64-bit indices to cuDNN 9.3 and later only. torch's default
    wheels bring cuDNN 9.1 up to torch 2.6, and 9.5 or later from torch 2.7 on.

How to fix:
    Take torch 2.7 or later, or keep the BEV map below 2^31 elements: `bevdiag inspect` says how
    large it is.

Seen in:
    pytorch/pytorch#128947 (https://github.com/pytorch/pytorch/issues/128947): 161.37 GiB asked for
    by one convolution whose sample is beyond 32-bit indices.
"""

import re
from collections.abc import Iterator

from bevdiag.environment.environment import Environment
from bevdiag.memory.catalogue import cudnn_of_torch
from bevdiag.memory.conv import CUDNN_64BIT
from bevdiag.memory.device import parse_cudnn
from bevdiag.memory.profiles import CudnnVersion
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding

_BUILD = re.compile(r"cudnn(\d+(?:\.\d+)+)")
_PACKAGES = ("nvidia-cudnn-cu11", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "cudnn")


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding where cuDNN is known to be too old for 64-bit indices."""
    torch = environment.torch
    cudnn = cudnn_version(environment)
    if torch is None or cudnn is None or cudnn >= CUDNN_64BIT:
        return
    named = f"cuDNN {'.'.join(map(str, cudnn))}"
    if torch.version is not None and not cudnn_of_torch(str(torch.version)).is_known:
        named = f"the cuDNN of torch {torch.version}"  # older than those that are listed
    yield finding(
        "BEV708",
        f"{named} cannot index more than 2^31 - 1 elements",
        location=torch.location,
        detail=(
            "A BEV map beyond that makes PyTorch ask for an im2col buffer nine times its size in "
            "a 3 x 3 convolution: 75.10 GiB for 22,400 channels on 200 x 500 cells.",
        ),
        command='python -m pip install "torch>=2.7"',
    )


def cudnn_version(environment: Environment) -> CudnnVersion | None:
    """Return the cuDNN that torch loads; None for a CPU build, or where nothing tells."""
    probe, torch = environment.probe("torch"), environment.torch
    if probe is not None and probe.facts:
        number = probe.facts.get("cudnn")
        return parse_cudnn(str(number)) if number else None
    if torch is None or environment.torch_cuda() is None:
        return None
    if match := _BUILD.search(torch.build):
        return parse_cudnn(match[1])
    package = environment.packages.get(*_PACKAGES)
    if package is not None and package.version is not None:
        return parse_cudnn(".".join(map(str, package.version.release[:3])))
    if torch.version is None or torch.version.local is not None:
        return None  # a range of versions, or a wheel of another index than the default one
    return parse_cudnn(cudnn_of_torch(str(torch.version)).cudnn)
