"""Rules about GPUs, their driver and what runs on them."""

import re
from collections.abc import Iterator

from bevdiag.environment.environment import Chip, Environment, install_spconv, install_torch
from bevdiag.environment.gpus import GpuProcess
from bevdiag.environment.packages import cuda_suffix
from bevdiag.environment.wheels import (
    Kernels,
    compilable,
    first_driver,
    runs_code_for,
    runs_cuda,
    spconv_kernels,
)
from bevdiag.memory.sizes import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding, Severity

_KERNEL = re.compile(r"(sm|compute)_(\d+)[a-z]?")


def driver_too_old(environment: Environment) -> Iterator[Finding]:
    """The NVIDIA driver is too old for the CUDA that torch was built with.

    What it means: torch finds no GPU: "The NVIDIA driver on your system is too old".
    What is printed:
        driver version is insufficient for CUDA runtime version
        The NVIDIA driver on your system is too old
        Found no NVIDIA driver on your system
        the provided PTX was compiled with an unsupported toolchain
        forward compatibility was attempted on non supported HW
    Why it happens: A driver runs programs of its own CUDA and of older ones, and of newer minor
        versions within the same major one. torch's wheels bring their own CUDA, and newer wheels
        bring CUDA 12 or 13.
    How to fix: Update the driver, or take a torch wheel of a CUDA that the driver runs.
    Seen in: lllyasviel/Fooocus#1313: driver 470 (CUDA 11.4) with a torch of CUDA 12.
    """
    driver, cuda, torch = environment.driver, environment.torch_cuda(), environment.torch
    if driver is None or cuda is None or torch is None or runs_cuda(driver.cuda, cuda):
        return
    first = first_driver(cuda)
    # Before CUDA 11 every minor version needs a driver of its own.
    needed, newest = (
        ".".join(map(str, one if cuda[0] < 11 else one[:1])) for one in (cuda, driver.cuda)
    )
    yield finding(
        "BEV705",
        f"{torch} is built with CUDA {cuda[0]}.{cuda[1]}, and driver {driver.version} runs CUDA "
        f"{newest} at most",
        location=torch.location,
        detail=(
            "torch finds no GPU with it.",
            f"CUDA {needed} needs driver {first} or later; nvidia-smi shows the one at hand."
            if first is not None
            else "nvidia-smi shows the driver at hand.",
        ),
        command=install_torch(environment),
    )


def no_kernels_for_gpu(environment: Environment) -> Iterator[Finding]:
    """A wheel holds no kernels for the GPU.

    What it means: The first operation on the GPU fails: "no kernel image is available for execution
        on the device".
    What is printed:
        no kernel image is available for execution on the device
        is not compatible with the current PyTorch installation
        can't find suitable algorithm
        can't find suitalbe algorithm
        CUDNN_STATUS_ARCH_MISMATCH
    Why it happens: A wheel holds machine code for the compute capabilities that it was compiled
        for, which runs on GPUs of the same major version and the same or a higher minor one. A
        newer GPU needs PTX in the wheel, which the driver compiles. CUDA 13 dropped GPUs before
        Turing (7.5); CUDA before 12.8 does not know Blackwell.
    How to fix: Take a torch wheel of a CUDA that knows the GPU, and where spconv finds no
        algorithm, an spconv of such a CUDA.
    Seen in: pytorch/pytorch#150733: "GeForce RTX 5090 D with CUDA capability sm_120 is not
        compatible with the current PyTorch installation".
    """
    for chip in dict.fromkeys(environment.chips):
        yield from _torch_kernels(environment, chip)
        yield from _spconv_kernels(environment, chip)


def _torch_kernels(environment: Environment, chip: Chip) -> Iterator[Finding]:
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


def _spconv_kernels(environment: Environment, chip: Chip) -> Iterator[Finding]:
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


def gpu_memory_taken(environment: Environment) -> Iterator[Finding]:
    """Another process holds memory of the GPU.

    What it means: A training can have what is left. PyTorch's message counts it as neither
        allocated nor free.
    Why it happens: Someone else trains on the same GPU, or a training of one's own did not end: a
        worker that outlived its parent keeps its memory.
    How to fix: End the process if it is one's own, or choose another GPU with CUDA_VISIBLE_DEVICES.
    Seen in: RangiLyu/nanodet#147: "CUDA error: out of memory" on an empty GPU, which somebody
        else's daemon filled.
    """
    driver = environment.driver
    for gpu in driver.gpus if driver is not None else ():
        if not gpu.processes:
            continue
        computing = [process for process in gpu.processes if process.computes]
        pids = " ".join(str(process.pid) for process in computing)
        kill = f"kill {pids}  # if yours; or CUDA_VISIBLE_DEVICES with another GPU"
        yield finding(
            "BEV710",
            f"GPU {gpu.index} ({gpu.name}): {format_size(gpu.used_bytes)} of "
            f"{format_size(gpu.total_bytes)} are taken",
            severity=None if computing else Severity.INFO,
            detail=(*map(_described, gpu.processes), "A training has what is left."),
            command=kill if computing else "",
        )


def _described(process: GpuProcess) -> str:
    size = format_size(process.nbytes) if process.nbytes is not None else "an unknown amount"
    name = f" ({process.name})" if process.name else ""
    return f"Process {process.pid}{name} holds {size}."


def torch_without_cuda(environment: Environment) -> Iterator[Finding]:
    """torch is a CPU build, and the training needs a GPU.

    What it means: Moving the model to the GPU fails: "Torch not compiled with CUDA enabled".
        spconv's convolutions have no other way.
    What is printed:
        Torch not compiled with CUDA enabled
    Why it happens: torch came from the CPU index, or as conda's cpuonly build, or was pulled in
        anew by another package.
    How to fix: Install torch from the index of a CUDA that the driver runs.
    Seen in: traveller59/spconv#366: spconv with a CPU build of torch.
    """
    torch = environment.torch
    if torch is None:
        return
    probe = environment.probe("torch")
    asked = probe is not None and probe.facts.get("cuda", "unknown") is None
    version = torch.version
    named = version is not None and version.local == "cpu"
    if not (asked or named or environment.packages.get("cpuonly")):
        return
    driver = environment.driver
    # Without a driver nobody trains here; bevdiag itself needs no GPU.
    is_harmless = environment.is_installed and driver is None
    yield finding(
        "BEV711",
        f"{torch} is built without CUDA",
        severity=Severity.INFO if is_harmless else None,
        location=torch.location,
        detail=(
            "There is no NVIDIA driver here either: bevdiag predicts, nothing can train."
            if is_harmless
            else "Nothing of it runs on a GPU.",
        ),
        command=install_torch(environment),
    )
