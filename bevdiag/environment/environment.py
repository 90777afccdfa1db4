"""One environment as far as it is known, at hand or in a file, and what pip can put right there."""

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import Version

from bevdiag.environment.gpus import Driver, read_driver
from bevdiag.environment.packages import Package, Packages, cuda_suffix, exactly, read_listing
from bevdiag.environment.probes import ImportProbe, probe_imports
from bevdiag.environment.wheels import (
    CudaVersion,
    default_torch_cuda,
    parse_cuda,
    spconv_for,
    suffix_cuda,
    torch_releases,
)

_BUILD_CUDA = re.compile(r"cuda(\d+\.\d+)")
_USUAL_PYTHON = Version("3.11")
_RUNTIMES = ("nvidia-cuda-runtime-cu11", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime")


class Chip(NamedTuple):
    """A kind of GPU; `capability` is 8.6 as 86."""

    name: str
    capability: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a training would run in.

    Attributes:
        source: how reports call it.
        is_installed: whether it is the one at hand; else a file lists it.
        python: its version, None where the list does not say.
        packages: what is installed or listed.
        driver: of the machine at hand, None where there is none or the list is for another.
        chips: the GPUs to judge by, each with its compute capability.
        probes: how the risky imports went; empty for a list.
    """

    source: str
    is_installed: bool
    python: Version | None
    packages: Packages
    driver: Driver | None = None
    chips: tuple[Chip, ...] = ()
    probes: tuple[ImportProbe, ...] = ()

    def probe(self, stage: str) -> ImportProbe | None:
        """How that import went, None where it was not tried."""
        return next((probe for probe in self.probes if probe.stage == stage), None)

    @property
    def torch(self) -> Package | None:
        """torch, if it is there."""
        return self.packages.get("torch")

    def torch_cuda(self) -> CudaVersion | None:
        """Return the CUDA that torch was built with; None for a CPU build, or if nothing tells."""
        probe = self.probe("torch")
        if probe is not None and probe.facts:
            return parse_cuda(probe.facts.get("cuda") or "")
        torch = self.torch
        if torch is None:
            return None
        listed = self._listed_cuda(torch)
        if listed is not None or torch.version is None or torch.version.local is not None:
            return listed
        return default_torch_cuda(torch.version)

    def _listed_cuda(self, torch: Package) -> CudaVersion | None:
        """From torch 2.4.1+cu118, conda's build, pytorch-cuda, or the CUDA runtime beside it."""
        local = torch.version.local if torch.version is not None else None
        if cuda := suffix_cuda(local or ""):
            return cuda
        if match := _BUILD_CUDA.search(torch.build):
            return parse_cuda(match[1])
        beside = self.packages.get("pytorch-cuda", *_RUNTIMES)
        if beside is None or local is not None:
            return None
        return parse_cuda(str(beside.version or next(iter(beside.specifier), "")).lstrip("=<>~"))


def installed_environment(progress: Callable[[str, float], None]) -> Environment:
    """Look at the interpreter that runs this, its packages, machine, and imports that can crash."""
    progress("installed packages", 0.0)
    packages = _installed_packages()
    risky = {"torch": packages.get("torch"), "cumm": packages.cumm(), "spconv": packages.spconv()}
    stages = [name for name, found in risky.items() if found]
    progress("the driver", 0.05)
    driver = read_driver()
    progress(f"importing {', '.join(stages)}", 0.1)
    gpus = driver.gpus if driver is not None else ()
    return Environment(
        source=f"Python {platform.python_version()} at hand",
        is_installed=True,
        python=Version(platform.python_version()),
        packages=packages,
        driver=driver,
        chips=tuple(Chip(gpu.name, _joined(gpu.compute_capability)) for gpu in gpus),
        probes=probe_imports(stages),
    )


def listed_environment(path: Path) -> Environment:
    """Read the environment that a file describes; nothing of it need be here.

    Raises:
        InputError: the file cannot be read, or is no list of packages.
    """
    packages = read_listing(path)
    python = packages.get("python")
    version = python.version if python is not None else None
    return Environment(source=str(path), is_installed=False, python=version, packages=packages)


def _joined(capability: tuple[int, int]) -> int:
    return 10 * capability[0] + capability[1]


def _installed_packages() -> Packages:
    found: dict[str, Package] = {}
    for distribution in metadata.distributions():
        if written := distribution.metadata["Name"]:  # else a leftover folder without metadata
            name = canonicalize_name(written)
            # The first on the path is the one that gets imported.
            found.setdefault(name, Package(name=name, specifier=exactly(distribution.version)))
    return Packages(by_name=found)


def install_torch(environment: Environment, capability: int | None = None) -> str:
    """Return what installs a torch that Python, driver and GPU can take, and spconv beside it.

    Empty where no wheel runs with the driver.

    Args:
        environment: what is there.
        capability: the GPU's compute capability, 8.6 as 86; None where no GPU was named.
    """
    limit = environment.driver.cuda if environment.driver is not None else None
    python, (newest, *_) = environment.python, torch_releases()
    own = [one for one in torch_releases() if python is None or one.pythons.hold(python)]
    if limit is None and capability is None and newest in own:
        return newest.command(None)
    indexed = ((one, one.index_for(limit, capability)) for one in (*own, *torch_releases()))
    release, index = next(((one, index) for one, index in indexed if index), (newest, None))
    if index is None:
        return ""  # a newer driver is the only way
    command = release.command(index)
    if release not in own:
        # No torch with a wheel for this Python knows the GPU, or runs with the driver.
        other = min(_USUAL_PYTHON, release.pythons.last)
        return f"conda create -n training python={other}, and there: {command}"
    cuda = suffix_cuda(index)
    built = [suffix_cuda(cuda_suffix(package)) for package in environment.packages.spconv()]
    if cuda is None or all(one is None or one[0] == cuda[0] for one in built):
        return command
    return f"{command} && {install_spconv(environment, cuda)}"


def install_spconv(environment: Environment, cuda: CudaVersion | None) -> str:
    """Return what removes every spconv and cumm, which share a module, and installs the right."""
    beside = (*environment.packages.spconv(), *environment.packages.cumm())
    names = " ".join(package.name for package in beside)
    wanted = f"python -m pip install {spconv_for(cuda, environment.python)}"
    return f"python -m pip uninstall -y {names} && {wanted}" if names else wanted
