"""An extension of torch was built for another torch, or another CUDA, than the one it meets.

What it means:
    Its import fails with an undefined symbol, or it stops because its CUDA is not torch's.

What is printed:
    undefined symbol: ...

    compiled with different CUDA versions

    Detected that PyTorch and ... were compiled with different CUDA

    cannot import name '..._cuda'

Why it happens:
    Extensions such as torch-scatter are compiled against one torch and say which in their version:
    2.0.9+pt112cu113 is for torch 1.12 with CUDA 11.3. pip compares none of that, and an upgrade of
    torch leaves them behind.

How to fix:
    Install the extension's wheel for the torch that is there, after every change of torch. What
    the repository compiles itself has to be compiled again.

Seen in:
    rusty1s/pytorch_scatter#153 (https://github.com/rusty1s/pytorch_scatter/issues/153): an
    undefined symbol after an upgrade to torch 1.6.
"""

import re
from collections.abc import Iterator

from bevdiag.environment.environment import Environment
from bevdiag.environment.packages import Package
from bevdiag.environment.wheels import CudaVersion, suffix_cuda
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding

_PYG = re.compile(r"pt(\d)(\d+)(cu\d+|cpu)?")
_TORCH_LAST = re.compile(r"(cu\d+)?\.?torch(\d+)\.(\d+).*")
_TOGETHER = ("torchvision", "torchaudio")
"""Released with torch, whose local version says the CUDA alone."""


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding for every package whose version names another torch or CUDA."""
    torch = environment.torch
    version = torch.version if torch is not None else None
    if torch is None or version is None:
        return
    cuda = environment.torch_cuda()
    for name, package in sorted(environment.packages.by_name.items()):
        built = built_for(package)
        if built is None:
            continue
        release, built_cuda = built
        wrong = release is not None and release != (version.major, version.minor)
        other = built_cuda is not None and cuda is not None and not _together(built_cuda, cuda)
        if not wrong and not other:
            continue
        yield finding(
            "BEV712",
            f"{package} is built for {_named(release, built_cuda)}, and {torch} is there"
            + (f" with CUDA {cuda[0]}.{cuda[1]}" if cuda is not None else ""),
            location=package.location,
            detail=("Its import fails, or its first operation does.",),
            command=_command(name, f"{version.major}.{version.minor}.0", cuda),
        )


def built_for(package: Package) -> tuple[tuple[int, int] | None, CudaVersion | None] | None:
    """Return the torch and the CUDA that a package's version names; None where it names neither."""
    local = package.version.local if package.version is not None else None
    if local is None or package.name == "torch":
        return None
    if match := _PYG.fullmatch(local):
        return (int(match[1]), int(match[2])), suffix_cuda(match[3] or "")
    if match := _TORCH_LAST.match(local):
        # Such wheels name the major version of CUDA alone.
        return (int(match[2]), int(match[3])), None
    if package.name in _TOGETHER and (cuda := suffix_cuda(local)) is not None:
        return None, cuda
    return None


def _together(one: CudaVersion, other: CudaVersion) -> bool:
    """Whether libraries of both go together: from CUDA 11 on the minor version does not matter."""
    return one == other if min(one, other)[0] < 11 else one[0] == other[0]


def _named(release: tuple[int, int] | None, cuda: CudaVersion | None) -> str:
    torch = f"torch {release[0]}.{release[1]}" if release is not None else ""
    built = f"CUDA {cuda[0]}.{cuda[1]}" if cuda is not None else ""
    return " with ".join(part for part in (torch, built) if part)


def _command(name: str, torch: str, cuda: CudaVersion | None) -> str:
    index = f"cu{cuda[0]}{cuda[1]}" if cuda is not None else "cpu"
    remove = f"python -m pip uninstall -y {name} && python -m pip install {name}"
    if name in _TOGETHER:
        return f"{remove} --index-url https://download.pytorch.org/whl/{index}"
    return f"{remove} -f https://data.pyg.org/whl/torch-{torch}+{index}.html"
