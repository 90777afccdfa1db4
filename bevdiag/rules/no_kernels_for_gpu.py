"""A wheel holds no kernels for the GPU.

What it means:
    The first operation on the GPU fails: "no kernel image is available for execution on the
    device".

What is printed:
    no kernel image is available for execution on the device

    is not compatible with the current PyTorch installation

    can't find suitable algorithm

    can't find suitalbe algorithm

    CUDNN_STATUS_ARCH_MISMATCH

Why it happens:
    A wheel holds machine code for the compute capabilities that it was compiled for, which runs on
    GPUs of the same major version and the same or a higher minor one. A newer GPU needs PTX in the
    wheel, which the driver compiles. CUDA 13 dropped GPUs before Turing (7.5); CUDA before 12.8
    does not know Blackwell.

How to fix:
    Take a torch wheel of a CUDA that knows the GPU, and where spconv finds no algorithm, an spconv
    of such a CUDA.

Seen in:
    pytorch/pytorch#150733 (https://github.com/pytorch/pytorch/issues/150733): "GeForce RTX 5090 D
    with CUDA capability sm_120 is not compatible with the current PyTorch installation".
"""

import re
from collections.abc import Iterator

from bevdiag.environment.commands import install_spconv, install_torch
from bevdiag.environment.environment import Chip, Environment
from bevdiag.environment.packages import cuda_suffix
from bevdiag.environment.wheels import Kernels, compilable, runs_code_for, spconv_kernels
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding, Severity

_KERNEL = re.compile(r"(sm|compute)_(\d+)[a-z]?")


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding for each wheel and GPU that do not go together."""
    for chip in dict.fromkeys(environment.chips):
        yield from _torch(environment, chip)
        yield from _spconv(environment, chip)


def _torch(environment: Environment, chip: Chip) -> Iterator[Finding]:
    torch, cuda = environment.torch, environment.torch_cuda()
    if torch is None or cuda is None:
        return
    probe = environment.probe("torch")
    names = probe.facts.get("kernels", ()) if probe is not None else ()
    if names:
        runs = runs_on(chip, kernels_of(names))
        holds = f"its kernels are {' '.join(names)}"
    else:
        bounds = compilable(cuda)
        runs = bounds is None or runs_code_for(chip.capability, bounds)
        holds = f"CUDA {cuda[0]}.{cuda[1]} compiles for none such"
    if not runs:
        yield finding(
            "BEV707",
            f"{torch} has no kernels for {chip.name}",
            location=torch.location,
            detail=(f"Its compute capability is {_dotted(chip.capability)}; {holds}.",),
            command=install_torch(environment, chip.capability),
        )


def _spconv(environment: Environment, chip: Chip) -> Iterator[Finding]:
    for package in environment.packages.spconv():
        kernels = spconv_kernels(cuda_suffix(package))
        if kernels is None or _has_code_for(chip, kernels):
            continue
        runs = runs_on(chip, kernels)
        held = " ".join(map(_dotted, kernels.binaries))
        lacks = f"{package} holds no machine code for {chip.name}"
        detail = f"Its kernels are for compute capability {held}, the GPU's is "
        yield finding(
            "BEV707",
            f"{lacks}: the driver compiles its PTX at the first use" if runs else lacks,
            severity=Severity.INFO if runs else None,
            location=package.location,
            detail=(
                f"{detail}{_dotted(chip.capability)}.",
                "The first step waits for that; later runs find the result in the driver's cache."
                if runs
                else "Build spconv from source for it.",
            ),
            command="" if runs else install_spconv(environment, environment.torch_cuda()),
        )


def kernels_of(names: list[str]) -> Kernels:
    """`sm_90` is machine code, `compute_90` is PTX, as torch.cuda.get_arch_list names them."""
    found = [match for name in names if (match := _KERNEL.fullmatch(name))]
    ptx = [int(match[2]) for match in found if match[1] == "compute"]
    return Kernels(
        binaries=tuple(int(match[2]) for match in found if match[1] == "sm"),
        ptx=min(ptx, default=None),
    )


def runs_on(chip: Chip, kernels: Kernels) -> bool:
    """Whether there is machine code for the GPU, or PTX that its driver can compile."""
    can_compile = kernels.ptx is not None and kernels.ptx <= chip.capability
    return can_compile or _has_code_for(chip, kernels)


def _has_code_for(chip: Chip, kernels: Kernels) -> bool:
    return any(
        code // 10 == chip.capability // 10 and code <= chip.capability for code in kernels.binaries
    )


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"
