"""The NVIDIA driver is too old for the CUDA that torch was built with.

What it means:
    torch finds no GPU: "The NVIDIA driver on your system is too old".

What is printed:
    driver version is insufficient for CUDA runtime version

    The NVIDIA driver on your system is too old

    Found no NVIDIA driver on your system

    the provided PTX was compiled with an unsupported toolchain

    forward compatibility was attempted on non supported HW

Why it happens:
    A driver runs programs of its own CUDA and of older ones, and of newer minor versions within the
    same major one. torch's wheels bring their own CUDA, and newer wheels bring CUDA 12 or 13.

How to fix:
    Update the driver, or take a torch wheel of a CUDA that the driver runs.

Seen in:
    lllyasviel/Fooocus#1313 (https://github.com/lllyasviel/Fooocus/issues/1313): driver 470 (CUDA
    11.4) with a torch of CUDA 12.
"""

from collections.abc import Iterator

from bevdiag.environment.commands import install_torch
from bevdiag.environment.environment import Environment
from bevdiag.environment.wheels import first_driver
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding where torch's CUDA is of a newer major version than the driver's."""
    driver, cuda, torch = environment.driver, environment.torch_cuda(), environment.torch
    if driver is None or cuda is None or torch is None or cuda[0] <= driver.cuda[0]:
        return
    first = first_driver(cuda)
    yield finding(
        "BEV705",
        f"{torch} is built with CUDA {cuda[0]}.{cuda[1]}, and driver {driver.version} runs CUDA "
        f"{driver.cuda[0]} at most",
        location=torch.location,
        detail=(
            "torch finds no GPU with it.",
            f"CUDA {cuda[0]} needs driver {first} or later; nvidia-smi shows the one at hand."
            if first is not None
            else "nvidia-smi shows the driver at hand.",
        ),
        command=install_torch(environment),
    )
