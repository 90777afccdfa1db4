"""A Python environment's packages: which are there, or may be, and a list of them in a file.

Nothing is installed or imported, and no index is asked.
"""

import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import yaml
from packaging.markers import Marker, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bevdiag.errors import InputError, Location
from bevdiag.files.reading import read_file

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
        marker: the condition under which a list means it.
    """

    name: str
    specifier: SpecifierSet
    build: str = ""
    location: Location | None = None
    marker: Marker | None = None

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


MAX_FILE_BYTES = 2**20
MAX_YAML_BYTES = 2**17
"""PyYAML takes seconds for a megabyte."""
MAX_INCLUDES = 8
MAX_FILES = 64
MAX_PACKAGES = 5000
MAX_LINE_CHARACTERS = 2000

_COLUMNS = re.compile(r"([A-Za-z0-9][\w.-]*)\s+(\d[\w.+!-]*)(?:\s+(\S+))?(?:\s+\S+)?")
_CONDA_EXPORT = re.compile(r"([A-Za-z0-9][\w.-]*)=(\d[\w.+!*]*)(?:=(\S+))?")
_EGG = re.compile(r"#(?:.*&)?egg=([\w.-]+)")
_OPTION = re.compile(r"(?:-r|--requirement|-c|--constraint)[ =]\s*(\S+)")
_WHEEL = re.compile(r"([A-Za-z0-9][\w.]*)-(\d[\w.+!]*)(?:-\d[\w.]*)?-[\w.]+-[\w.]+-[\w.]+\.whl")
_CONDA_NAMES = {"pytorch": "torch"}
"""conda's name for what PyPI calls otherwise."""


def read_listing(path: Path) -> Packages:
    """Read the file and those that it includes with -r and -c; conda lists Python among them.

    Raises:
        InputError: a file that cannot be read, lists nothing, or has a line that makes no sense.
    """
    entries = list(islice(_entries(path, (path.resolve(),), count(1)), MAX_PACKAGES + 1))
    if len(entries) > MAX_PACKAGES:
        raise InputError(f"{path} lists more than {MAX_PACKAGES} packages")
    if not entries:
        raise InputError(f"{path} lists no package: expected requirements, pip freeze or conda")
    python = next((p.version for p in entries if p.name == "python" and p.version), None)
    by_name: dict[str, Package] = {}
    for package in _applicable(entries, python):
        known = by_name.get(package.name)
        if known is not None:  # as in requirements and constraints: both conditions hold
            both, build = known.specifier & package.specifier, known.build or package.build
            package = replace(known, specifier=both, build=build)
        by_name[package.name] = package
    return Packages(by_name=by_name)


def _applicable(entries: list[Package], python: Version | None) -> Iterator[Package]:
    """Yield the entries whose markers hold for the listed Python, else for the one that runs."""
    environment = {k: str(v) for k, v in default_environment().items()}
    # A list is for the machine that trains: Linux with a GPU, wherever it is read.
    environment |= {"sys_platform": "linux", "platform_system": "Linux"}
    environment |= {"platform_machine": "x86_64", "os_name": "posix"}
    if python is not None:
        environment |= {
            "python_version": f"{python.major}.{python.minor}",
            "python_full_version": str(python),
        }
    for entry in entries:
        if entry.marker is None or entry.marker.evaluate({**environment, "extra": ""}):
            yield entry


def _entries(path: Path, parents: tuple[Path, ...], files: Iterator[int]) -> Iterator[Package]:
    """Yield the entries of a file; `files` counts those that were read before."""
    if next(files) > MAX_FILES:
        raise InputError(f"{path}: more than {MAX_FILES} files are included in all")
    text = _read(path)
    if path.suffix in (".yml", ".yaml"):
        yield from _conda_yaml(text, path)
        return
    for number, line in _logical_lines(text):
        include = _OPTION.fullmatch(line)
        if include is not None:
            other = path.parent / include[1]
            if other.resolve() in parents or len(parents) > MAX_INCLUDES:
                raise InputError(f"{path}:{number}: {include[1]} includes itself or nests too deep")
            yield from _entries(other, (*parents, other.resolve()), files)
        elif len(line) > MAX_LINE_CHARACTERS:
            raise InputError(f"{path}:{number}: a line of {len(line)} characters is no requirement")
        else:
            yield from _line(line, Location(path, number, 1))


def _read(path: Path) -> str:
    data = read_file(path, MAX_FILE_BYTES, instead="that is no list of packages")
    # PowerShell's `pip freeze > file` writes UTF-16.
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text: expected a list of packages") from error


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments and hashes, continuation lines joined, with their first number."""
    pending, first = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(?:^|\s)#(?!\S*egg=).*", "", raw).strip()
        first = first or number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        whole = re.sub(r"\s--hash[= ]\S+", "", pending + line).strip()
        if whole:
            yield first, whole
        pending, first = "", 0


def _line(line: str, where: Location) -> Iterator[Package]:
    if line.startswith(("-e ", "--editable", "git+", "http:", "https:", "file:", "./", "/")):
        yield from _from_address(line, where)
    elif line.startswith(("-", "@EXPLICIT")) or line.split()[0] in ("Package", "Name"):
        return  # an option of pip (--index-url ...), or the head of a table
    elif match := _COLUMNS.fullmatch(line):
        yield _pinned(match[1], match[2], match[3] or "", where)
    elif (match := _CONDA_EXPORT.fullmatch(line)) and "==" not in line:
        yield _conda(match[1], match[2], match[3] or "", where)
    else:
        yield _requirement(line, where)


def _from_address(line: str, where: Location) -> Iterator[Package]:
    """Yield the package at an address: a checkout has no version, a wheel's file name has both."""
    egg = _EGG.search(line)
    wheel = _WHEEL.search(line.replace("%2B", "+"))
    if wheel is not None:
        yield _pinned(wheel[1].replace("_", "-"), wheel[2], "", where)
    elif egg is not None:
        yield Package(name=canonicalize_name(egg[1]), specifier=SpecifierSet(), location=where)


def _requirement(line: str, where: Location) -> Package:
    try:
        parsed = Requirement(line)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{where}: {line!r} is no requirement: {reason}") from error
    wheel = _WHEEL.search((parsed.url or "").replace("%2B", "+"))
    return Package(
        name=canonicalize_name(parsed.name),
        specifier=SpecifierSet(f"=={wheel[2]}") if wheel is not None else parsed.specifier,
        location=where,
        marker=parsed.marker,
    )


def exactly(version: str) -> SpecifierSet:
    """Pin a version; conda lists C libraries too, whose versions need not be Python's."""
    try:
        return SpecifierSet(f"=={Version(version)}")
    except (InvalidVersion, InvalidSpecifier):
        return SpecifierSet()


def _pinned(name: str, version: str, build: str, where: Location) -> Package:
    canonical = canonicalize_name(name)
    name = _CONDA_NAMES.get(canonical, canonical)
    return Package(name=name, specifier=exactly(version), build=build, location=where)


def _conda(name: str, version: str, build: str, where: Location) -> Package:
    """In conda, `name=1.26` means any 1.26.*; with a build it is exact."""
    if build or version.count(".") >= 2:
        return _pinned(name, version, build, where)
    pinned = _pinned(name, version.rstrip(".*"), "", where)
    fuzzy = SpecifierSet(f"=={pinned.version}.*") if pinned.version else pinned.specifier
    return Package(name=pinned.name, specifier=fuzzy, location=where)


def _conda_yaml(text: str, path: Path) -> Iterator[Package]:
    if len(text) > MAX_YAML_BYTES:
        raise InputError(f"{path} is longer than {MAX_YAML_BYTES} bytes: that is no environment")
    try:
        document: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no YAML: {str(error).splitlines()[0]}") from error
    listed = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise InputError(f"{path} has no list `dependencies`: expected conda's environment.yml")
    for line in islice(_conda_lines(listed), MAX_PACKAGES + 1):
        if not isinstance(line, str) or not 0 < len(line.strip()) <= MAX_LINE_CHARACTERS:
            raise InputError(f"{path}: {reprlib.repr(line)} in `dependencies` is no package")
        spec = line.partition("::")[2].strip() or line.strip()
        number = text.count("\n", 0, max(text.find(line), 0)) + 1
        yield from _line(spec, Location(path, number, 1))


def _conda_lines(listed: list[Any]) -> Iterator[Any]:
    for item in listed:
        pip = item.get("pip") if isinstance(item, dict) else None
        if isinstance(pip, list):
            yield from pip
        elif not isinstance(item, dict) or pip is not None:
            yield item
