"""A Python environment's packages: which versions are there, or may be."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bevdiag.errors import Location

_SPCONV = re.compile(r"spconv(?:-(cu\d+))?")
_CUMM = re.compile(r"cumm(?:-(cu\d+))?")
_MINORS, _PATCHES = 60, 12
"""Minor and patch numbers that are tried to see what a range admits; no release has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package of an environment.

    Attributes:
        name: canonical, as PyPI compares names.
        specifier: the versions that may be there; an installed one is pinned.
        build: what conda says beside the version, e.g. `py3.10_cuda11.8_cudnn8.7.0_0`.
        location: where it is listed, None for an installed one.
    """

    name: str
    specifier: SpecifierSet
    build: str = ""
    location: Location | None = None

    @property
    def version(self) -> Version | None:
        """The version where only one may be there."""
        for clause in self.specifier:
            if clause.operator in ("==", "===") and not clause.version.endswith(".*"):
                try:
                    return Version(clause.version)
                except InvalidVersion:
                    return None
        return None

    def admits(self, versions: Iterable[str | Version]) -> bool:
        """Whether any of these versions may be there."""
        version = self.version
        if version is not None:
            return any(version == Version(str(other)) for other in versions)
        return any(self.specifier.contains(other, prereleases=True) for other in versions)

    def admits_major(self, major: int) -> bool:
        """Whether a release of this major version may be there."""
        version = self.version
        if version is not None:
            return version.major == major
        return self.admits(
            f"{major}.{minor}.{patch}" for minor in range(_MINORS) for patch in range(_PATCHES)
        )

    def __str__(self) -> str:
        return f"{self.name} {self.version or self.specifier or '(any version)'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """The packages of one environment by canonical name."""

    by_name: Mapping[str, Package]

    def get(self, *names: str) -> Package | None:
        """Return the first of these packages that is there."""
        found = (self.by_name.get(canonicalize_name(name)) for name in names)
        return next((package for package in found if package is not None), None)

    def spconv(self) -> tuple[Package, ...]:
        """Every spconv; each CUDA version has a distribution of its own, with the same module."""
        return tuple(p for name, p in self.by_name.items() if _SPCONV.fullmatch(name))

    def cumm(self) -> tuple[Package, ...]:
        """Every cumm, which spconv's tensors come from."""
        return tuple(p for name, p in self.by_name.items() if _CUMM.fullmatch(name))


def cuda_suffix(package: Package) -> str:
    """`cu120` of spconv-cu120; empty for a build without CUDA."""
    match = _SPCONV.fullmatch(package.name) or _CUMM.fullmatch(package.name)
    return match[1] or "" if match else ""


def is_spconv_1(package: Package) -> bool:
    """Whether it is the old spconv, which has no wheels: it is compiled against the torch there."""
    version = package.version
    return package.name == "spconv" and version is not None and version.major < 2
