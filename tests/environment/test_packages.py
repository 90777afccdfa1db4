"""Lists of packages in every form that people have them."""

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from bevdiag.environment.packages import (
    Package,
    Packages,
    cuda_suffix,
    is_spconv_1,
    read_listing,
)
from bevdiag.errors import InputError


def _read(tmp_path: Path, text: str, name: str = "list.txt") -> Packages:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_listing(path)


@pytest.mark.parametrize(
    ("line", "name", "version"),
    [
        ("numpy==1.26.4", "numpy", "1.26.4"),
        ("NumPy == 1.26.4  # pinned", "numpy", "1.26.4"),
        ("torch==2.4.1+cu118", "torch", "2.4.1+cu118"),
        ("numpy  1.26.4", "numpy", "1.26.4"),
        ("numpy   1.26.4   py311h64a7726_0   conda-forge", "numpy", "1.26.4"),
        ("pytorch=2.1.0=py3.10_cuda11.8_cudnn8.7.0_0", "torch", "2.1.0"),
        ("spconv_cu118==2.3.6", "spconv-cu118", "2.3.6"),
        ("torch @ https://host/whl/torch-2.3.1%2Bcu121-cp310-cp310-linux_x86_64.whl", "torch",
         "2.3.1+cu121"),
        ("numpy==1.26.4 --hash=sha256:abc", "numpy", "1.26.4"),
        ("numpy==\\\n  1.26.4", "numpy", "1.26.4"),
    ],
)  # fmt: skip
def test_an_exact_version_is_read(tmp_path: Path, line: str, name: str, version: str) -> None:
    package = _read(tmp_path, f"# head\n{line}\n").get(name)
    assert package is not None
    assert str(package.version) == version
    assert package.location is not None
    assert package.location.line == 2


def test_a_range_stays_one(tmp_path: Path) -> None:
    numpy = _read(tmp_path, "numpy>=1.22,<3\n").get("numpy")
    assert numpy is not None
    assert numpy.version is None
    assert numpy.admits_major(1)
    assert numpy.admits_major(2)
    assert not numpy.admits_major(3)


def test_conda_means_any_patch_by_two_numbers(tmp_path: Path) -> None:
    numpy = _read(tmp_path, "numpy=1.26\n").get("numpy")
    assert numpy is not None
    assert numpy.version is None
    assert numpy.admits(["1.26.3"])
    assert not numpy.admits(["1.25.0", "2.0.0"])


def test_an_environment_file_of_conda_with_pip_inside(tmp_path: Path) -> None:
    text = (
        "name: train\ndependencies:\n  - python=3.10.14\n  - pytorch::pytorch=2.1.0\n"
        "  - pip:\n    - spconv-cu118==2.3.6\n"
    )
    listing = _read(tmp_path, text, "environment.yml")
    assert str(listing.get("python").version) == "3.10.14"
    spconv = listing.get("spconv-cu118")
    assert spconv is not None
    assert spconv.location is not None
    assert spconv.location.line == 6
    torch = listing.get("torch")
    assert torch is not None
    assert str(torch.version) == "2.1.0"


def test_markers_are_those_of_the_listed_python(tmp_path: Path) -> None:
    text = (
        "python==3.12\nspconv-cu120==2.3.6; python_version < '3.12'\n"
        "spconv-cu126==2.3.8; python_version >= '3.12' and sys_platform == 'linux'\n"
    )
    (spconv,) = _read(tmp_path, text).spconv()
    assert spconv.name == "spconv-cu126"


def test_constraints_narrow_what_requirements_allow(tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("numpy<2\n", encoding="utf-8")
    numpy = _read(tmp_path, "numpy>=1.22\n-c constraints.txt\n").get("numpy")
    assert numpy is not None
    assert not numpy.admits_major(2)


def test_a_checkout_has_no_version(tmp_path: Path) -> None:
    text = "-e git+https://host/open-mmlab/OpenPCDet.git@abc#egg=pcdet\n--index-url https://x\n"
    package = _read(tmp_path, text).get("pcdet")
    assert package is not None
    assert package.version is None


def test_what_powershell_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "freeze.txt"
    path.write_text("numpy==2.0.2\n", encoding="utf-16")
    assert read_listing(path).get("numpy") is not None


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("", "a.txt", "lists no package"),
        ("numpy==1.26.4\n!!!\n", "a.txt", "a.txt:2:1: '!!!' is no requirement"),
        ("-r a.txt\n", "a.txt", "includes itself"),
        ("- [", "a.yml", "is no YAML"),
        ("MODEL: 1\n", "a.yaml", "no list `dependencies`"),
        ("dependencies:\n  - pip:\n    - 1\n", "a.yml", "is no package"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        _read(tmp_path, text, name)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_listing(tmp_path / "none.txt")
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\x80\x81")
    with pytest.raises(InputError, match="is no text"):
        read_listing(binary)
    long = tmp_path / "long.txt"
    long.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(InputError, match="larger than 1048576 bytes: that is no list of packages"):
        read_listing(long)


def _package(name: str, versions: str = "") -> Package:
    return Package(name=name, specifier=SpecifierSet(versions))


@pytest.mark.parametrize(
    ("versions", "version"),
    [("==2.3.6", "2.3.6"), ("===1.0", "1.0"), ("==2.*", None), (">=2", None), ("", None)],
)
def test_a_version_is_known_where_only_one_may_be_there(versions: str, version: str | None) -> None:
    found = _package("spconv", versions).version
    assert (None if found is None else str(found)) == version


def test_a_range_admits_what_lies_in_it() -> None:
    package = _package("numpy", ">=1.26,<3")
    assert package.admits(["1.20", "2.1"])
    assert not package.admits(["1.20", "3.0"])
    assert [major for major in range(5) if package.admits_major(major)] == [1, 2]
    assert [m for m in range(5) if _package("numpy", "==2.1").admits_major(m)] == [2]


def test_each_cuda_version_has_a_spconv_of_its_own() -> None:
    listed = [
        _package("spconv-cu118"),
        _package("spconv"),
        _package("cumm-cu118"),
        _package("torch"),
    ]
    packages = Packages(by_name={package.name: package for package in listed})
    assert [package.name for package in packages.spconv()] == ["spconv-cu118", "spconv"]
    assert [cuda_suffix(package) for package in packages.spconv()] == ["cu118", ""]
    assert [package.name for package in packages.cumm()] == ["cumm-cu118"]
    assert packages.get("absent", "Torch") is listed[-1]


def test_the_old_spconv_is_known_by_its_version() -> None:
    assert is_spconv_1(_package("spconv", "==1.2.1"))
    assert not is_spconv_1(_package("spconv", "==2.1"))
    assert not is_spconv_1(_package("spconv"))


def test_a_package_is_named_with_what_is_known_of_it() -> None:
    assert str(_package("torch", "==2.4.1")) == "torch 2.4.1"
    assert str(_package("torch", ">=2")) == "torch >=2"
    assert str(_package("torch")) == "torch (any version)"
