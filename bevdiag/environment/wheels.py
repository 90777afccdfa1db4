"""What is known about published wheels; the facts are a data file, each with its source."""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from bevdiag.environment.packages import Package, cuda_suffix

CudaVersion = tuple[int, int]


class Pythons(NamedTuple):
    """The first and the last Python that a release has wheels for, without their patch numbers."""

    first: Version
    last: Version

    def hold(self, python: Version) -> bool:
        """Whether there is a wheel for that Python."""
        return self.first <= Version(f"{python.major}.{python.minor}") <= self.last


class SpconvLine(NamedTuple):
    """Releases of spconv that are alike: the first, the cumm that they take, and their Pythons."""

    first: Version
    cumm: SpecifierSet
    pythons: Pythons


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """Compute capabilities (8.6 as 86) of a wheel's machine code, and of its PTX."""

    binaries: tuple[int, ...]
    ptx: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchRelease:
    """A torch, the Pythons it has wheels for, and the indexes they lie in.

    `torch` is None for the newest, which pip takes without being asked for a version.
    """

    torch: str | None
    pythons: Pythons
    indexes: tuple[str, ...]

    def command(self, index: str | None) -> str:
        """Return the command that installs it, from the default index where none is named."""
        version = f"=={self.torch}" if self.torch else ""
        where = f" --index-url https://download.pytorch.org/whl/{index}" if index else ""
        return f"python -m pip install --upgrade --force-reinstall torch{version}{where}"

    def index_for(self, limit: CudaVersion | None, capability: int | None) -> str | None:
        """Return the newest index whose CUDA the driver runs and whose kernels the GPU does."""
        known = _facts()["torch_indexes"]["capabilities"]
        fitting = [
            (cuda, index)
            for index in self.indexes
            if (cuda := suffix_cuda(index)) is not None
            and (capability is None or runs_code_for(capability, known[index]))
            and (limit is None or runs_cuda(limit, cuda))
        ]
        return max(fitting)[1] if fitting else None


def parse_cuda(text: str) -> CudaVersion | None:
    """`12.4` or `12.4.127` as (12, 4); None where it is no version."""
    major, _, rest = text.strip().partition(".")
    minor = rest.partition(".")[0] or "0"
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def suffix_cuda(suffix: str) -> CudaVersion | None:
    """`cu126` as (12, 6): the last digit is the minor version."""
    match = re.fullmatch(r"cu(\d+)(\d)", suffix)
    return (int(match[1]), int(match[2])) if match else None


def default_torch_cuda(torch: Version) -> CudaVersion | None:
    """Return the CUDA of torch's default Linux wheel, None where that release is not listed."""
    listed = _facts()["torch_cuda"]["default_wheels"].get(f"{torch.major}.{torch.minor}")
    return parse_cuda(listed) if listed is not None else None


def first_cumm_for_numpy_2() -> Version:
    """Older builds of cumm read NumPy 2's arrays with NumPy 1's layout."""
    return Version(_facts()["cumm"]["first_for_numpy_2"])


@cache
def spconv_lines() -> tuple[SpconvLine, ...]:
    """Return the lines of spconv's releases, the newest first."""
    return tuple(
        SpconvLine(
            first=Version(line["from"]),
            cumm=SpecifierSet(line["cumm"]),
            pythons=Pythons(*map(Version, line["python"])),
        )
        for line in _facts()["spconv"]["lines"]
    )


def spconv_line(version: Version | None) -> SpconvLine | None:
    """Return the line that a version belongs to, None for an older one, or where there is none."""
    if version is None:
        return None
    return next((line for line in spconv_lines() if version >= line.first), None)


def spconv_taken(package: Package) -> Version | None:
    """Return the version that is there, or the newest that pip may take for a range, if any."""
    if package.version is not None:
        return package.version
    newest = _newest_spconv().get(cuda_suffix(package))
    releases = map(Version, _facts()["spconv"]["releases"])
    fitting = [v for v in releases if package.admits([v]) and (newest is None or v <= newest)]
    return max(fitting, default=None)


def _newest_spconv() -> dict[str, Version]:
    """Return the newest release for each CUDA suffix that there is a distribution for."""
    return {suffix: Version(text) for suffix, text in _facts()["spconv"]["newest"].items()}


@cache
def torch_releases() -> tuple[TorchRelease, ...]:
    """Return the last torch for each Python, the newest first."""
    return tuple(
        TorchRelease(
            torch=entry["torch"],
            pythons=Pythons(*map(Version, entry["python"])),
            indexes=tuple(entry["indexes"]),
        )
        for entry in _facts()["torch_releases"]["releases"]
    )


def runs_code_for(capability: int, bounds: tuple[int, int]) -> bool:
    """Whether a GPU runs machine code made for capabilities between those bounds.

    Code for a lower minor version of the same major one runs; there is none for another major one.
    """
    low, high = bounds
    return low <= capability and (capability <= high or capability // 10 == high // 10)


def install_command(module: str) -> str:
    """Return the command that brings a module such as torch_scatter or pcdet.ops.iou3d_nms."""
    known = _facts()["modules"]["install"]
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    found = next((known[name] for name in names if name in known), None)
    return str(found or f"python -m pip install {parts[0]}")


def spconv_for(cuda: CudaVersion | None, python: Version | None = None) -> str:
    """Return the newest spconv for a CUDA (same major version, at most that minor one) for pip.

    Minor versions of CUDA are compatible within a major one (spconv's own read-me says so), and a
    driver for a newer CUDA runs what was built with an older.
    """
    releases = _newest_spconv()
    if python is not None:
        releases = {
            suffix: version
            for suffix, version in releases.items()
            if (line := spconv_line(version)) is None or line.pythons.hold(python)
        } or releases
    newest = max(releases.values())
    built = [(suffix_cuda(suffix), suffix) for suffix in releases if releases[suffix] == newest]
    suffixes = [(known, suffix) for known, suffix in built if known is not None]
    older = [item for item in suffixes if cuda is None or item[0] <= cuda]
    return f"spconv-{max(older or suffixes)[1]}=={newest}"


def spconv_kernels(suffix: str) -> Kernels | None:
    """Return the kernels in spconv's wheels for a CUDA suffix; None for one that is not listed."""
    cuda = suffix_cuda(suffix)
    if cuda is None or suffix not in _newest_spconv():
        return None
    facts = _facts()["spconv"]["kernels"]["from_cu118" if cuda >= (11, 8) else "before_cu118"]
    return Kernels(binaries=tuple(facts["binaries"]), ptx=facts["ptx"])


def first_driver(cuda: CudaVersion) -> int | None:
    """Return the oldest Linux driver branch that runs programs of this CUDA's major version."""
    drivers = _facts()["cuda_drivers"]
    exact = drivers["exact"].get(f"{cuda[0]}.{cuda[1]}")
    first = exact or drivers["first"].get(str(cuda[0]))
    return int(first) if first is not None else None


def driver_cuda(version: str) -> CudaVersion | None:
    """Return the newest CUDA that a driver such as 535.104.05 runs; from 11 on the major one."""
    branch = version.strip().partition(".")[0]
    if not (branch.isascii() and branch.isdigit()):
        return None
    drivers = _facts()["cuda_drivers"]
    first = {
        parse_cuda(cuda): needed for cuda, needed in (drivers["first"] | drivers["exact"]).items()
    }
    return max(
        (cuda for cuda, needed in first.items() if cuda is not None and needed <= int(branch)),
        default=(0, 0),
    )


def runs_cuda(limit: CudaVersion, cuda: CudaVersion) -> bool:
    """Whether a driver for CUDA `limit` runs `cuda`: from 11 on minor versions do not matter."""
    return cuda <= limit if cuda[0] < 11 else cuda[0] <= limit[0]


def compilable(cuda: CudaVersion) -> tuple[int, int] | None:
    """Lowest and highest compute capability (8.6 as 86) that this CUDA can compile for."""
    ranges = _facts()["cuda_compute_capabilities"]["ranges"]
    known = [(parse_cuda(text), bounds) for text, bounds in ranges.items()]
    fitting = [(first, bounds) for first, bounds in known if first is not None and first <= cuda]
    if not fitting:
        return None
    low, high = max(fitting)[1]
    return low, high


@cache
def _facts() -> Any:
    text = resources.files("bevdiag.environment").joinpath("data", "wheels.json").read_text("utf-8")
    return json.loads(text)
