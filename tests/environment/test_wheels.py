"""What the data file says about published wheels."""

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from bevdiag.environment import wheels
from bevdiag.environment.packages import Package


def _package(name: str, specifier: str) -> Package:
    return Package(name=name, specifier=SpecifierSet(specifier))


@pytest.mark.parametrize(
    ("name", "specifier", "taken"),
    [
        ("spconv-cu120", "", "2.3.6"),
        ("spconv-cu118", "", "2.3.8"),
        ("spconv-cu118", "<2.3.7", "2.3.6"),
        ("spconv-cu118", "==2.3.5", "2.3.5"),
        ("spconv-cu118", ">3", None),
    ],
)
def test_pip_takes_the_newest_of_a_range(name: str, specifier: str, taken: str | None) -> None:
    found = wheels.spconv_taken(_package(name, specifier))
    assert (None if found is None else str(found)) == taken


def test_a_line_of_spconv_knows_its_cumm_and_pythons() -> None:
    old, new = wheels.spconv_line(Version("2.3.6")), wheels.spconv_line(Version("2.3.8"))
    assert old is not None
    assert new is not None
    first = wheels.first_cumm_for_numpy_2()
    assert not old.cumm.contains(first)
    assert new.cumm.contains("0.7.11")
    assert old.pythons[1] < Version("3.12") <= new.pythons[1]
    assert wheels.spconv_line(Version("1.2.1")) is None


@pytest.mark.parametrize(
    ("cuda", "wanted"),
    [
        ((11, 8), "spconv-cu118==2.3.8"),
        ((12, 1), "spconv-cu121==2.3.8"),
        ((12, 8), "spconv-cu126==2.3.8"),
        (None, "spconv-cu126==2.3.8"),
    ],
)
def test_the_spconv_of_a_cuda(cuda: tuple[int, int] | None, wanted: str) -> None:
    assert wheels.spconv_for(cuda) == wanted


def test_versions_of_cuda_are_read_from_text_and_suffixes() -> None:
    assert wheels.parse_cuda("12.4.127") == (12, 4)
    assert wheels.parse_cuda("") is None
    assert wheels.suffix_cuda("cu118") == (11, 8)
    assert wheels.suffix_cuda("") is None
    assert wheels.default_torch_cuda(Version("2.6.0")) == (12, 4)
    assert wheels.default_torch_cuda(Version("99.0")) is None


def test_a_driver_runs_its_major_version_of_cuda() -> None:
    assert wheels.driver_cuda("535.104.05") == (12, 0)
    assert wheels.driver_cuda("580.65") == (13, 0)
    assert wheels.driver_cuda("390.1") == (9, 0)
    assert wheels.driver_cuda("418.87") == (10, 1)
    assert wheels.runs_cuda((12, 0), (12, 8))
    assert not wheels.runs_cuda((10, 1), (10, 2))
    assert wheels.driver_cuda("new") is None
    assert wheels.first_driver((12, 4)) == 525


def test_a_cuda_compiles_for_a_range_of_gpus() -> None:
    assert wheels.compilable((12, 4)) == (50, 90)
    assert wheels.compilable((12, 8)) == (50, 120)
    assert wheels.compilable((10, 2)) == (30, 75)
    assert wheels.compilable((8, 0)) is None
