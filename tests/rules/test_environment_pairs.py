"""Every environment rule on a list of packages that has its fault, and on one without it.

A list blames the lines that end in a comment with the code; `# options: gpu=NAME driver=VERSION` on
its first line says what it is for. What no list can say (an import that dies, a process on the GPU)
is a JSON file of the environment's fields.
"""

import json
from pathlib import Path

import pytest
from packaging.version import Version

from bevdiag.doctor.examine import examine, findings_of
from bevdiag.environment.environment import Environment
from bevdiag.environment.gpus import Driver, GpuProcess, GpuState
from bevdiag.environment.packages import Packages
from bevdiag.environment.probes import ImportProbe
from bevdiag.rules.finding import Finding

from .conftest import FOLDER, expected, places

LISTS = sorted(FOLDER.glob("BEV7*/bad*.txt"))
STATES = sorted(FOLDER.glob("BEV7*/bad*.json"))


def _fixed(bad: Path) -> Path:
    return bad.with_name(bad.name.replace("bad", "fixed", 1))


def _label(path: Path) -> str:
    return path.parent.name + path.stem.removeprefix("bad")


def _listed(path: Path) -> tuple[Finding, ...]:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    words = first.removeprefix("# options:").split() if first.startswith("# options:") else []
    options = dict(word.split("=") for word in words)
    report = examine(path, options.get("gpu"), options.get("driver"), lambda what, share: None)
    assert not report.unknown
    return report.findings


def _described(path: Path) -> tuple[Finding, ...]:
    state = json.loads(path.read_text(encoding="utf-8"))
    gpu = GpuState(
        index=0,
        name="NVIDIA A10",
        compute_capability=(8, 6),
        total_bytes=24 * 2**30,
        used_bytes=21 * 2**30,
        processes=tuple(GpuProcess(**process) for process in state.get("processes", ())),
    )
    environment = Environment(
        source="a test",
        is_installed=True,
        python=Version("3.11"),
        packages=Packages(by_name={}),
        driver=Driver(version="575.51", cuda=(12, 9), gpus=(gpu,)),
        probes=tuple(ImportProbe(**probe) for probe in state.get("probes", ())),
    )
    return findings_of(environment)


@pytest.mark.parametrize("bad", LISTS, ids=_label)
def test_a_fault_is_found_at_the_line_to_blame(bad: Path) -> None:
    found = _listed(bad)
    assert found
    assert places(found) == expected(bad)
    assert all(finding.command for finding in found)


@pytest.mark.parametrize("bad", LISTS, ids=_label)
def test_the_fixed_list_has_no_finding(bad: Path) -> None:
    assert _listed(_fixed(bad)) == ()


@pytest.mark.parametrize("bad", STATES, ids=_label)
def test_what_no_list_says_is_found_too(bad: Path) -> None:
    (found,) = _described(bad)
    assert found.code == bad.parent.name
    assert found.command
    assert _described(_fixed(bad)) == ()
