"""torch is a CPU build, and the training needs a GPU.

What it means:
    Moving the model to the GPU fails: "Torch not compiled with CUDA enabled". spconv's convolutions
    have no other way.

What is printed:
    Torch not compiled with CUDA enabled

Why it happens:
    torch came from the CPU index, or as conda's cpuonly build, or was pulled in anew by another
    package.

How to fix:
    Install torch from the index of a CUDA that the driver runs.

Seen in:
    traveller59/spconv#366 (https://github.com/traveller59/spconv/issues/366): spconv with a CPU
    build of torch.
"""

from collections.abc import Iterator

from bevdiag.environment.commands import install_torch
from bevdiag.environment.environment import Environment
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding, Severity


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding for a torch that says so, in its version or when asked."""
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
