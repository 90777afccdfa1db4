import pytest
from packaging.specifiers import SpecifierSet

from bevdiag.environment.packages import Package, Packages, cuda_suffix, is_spconv_1


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
