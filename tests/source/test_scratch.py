import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bevdiag.scenes import Batch, Scenario
from bevdiag.trace.alternatives import TracedStep
from tests.source.tracing import trace_source


@pytest.fixture(scope="module")
def copied(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(
        shutil.copytree(
            repository,
            tmp_path_factory.mktemp("copied") / "repo",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    )


@pytest.fixture(scope="module")
def before(copied: Path) -> dict[str, tuple[int, str]]:
    return _contents(copied)


@pytest.fixture(scope="module")
def writing(
    copied: Path, before: dict[str, tuple[int, str]], batch_of: Callable[..., Batch]
) -> TracedStep:
    config = copied / "tools" / "cfgs" / "models" / "one_stage.yaml"
    return trace_source(
        config,
        copied,
        scenes={Scenario.EXPECTED: batch_of("one_stage.yaml")},
        overrides=("MODEL.NAME=Writing",),
    )


def _contents(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def test_the_repository_stays_as_it_is(
    writing: TracedStep, copied: Path, before: dict[str, tuple[int, str]]
) -> None:
    assert _contents(copied) == before
    assert not Path("/etc/bevdiag-wrote-this").exists()


def test_each_place_that_writes_is_reported_once(writing: TracedStep) -> None:
    reported = [finding for finding in writing.findings if "writes to" in finding]
    places = [finding.partition(": ")[0] for finding in reported]
    assert len(set(places)) == len(places)
    assert len(places) >= 10
    assert all("failing.py:" in place for place in places)
    assert any("mask.npy" in finding for finding in reported)


def test_nothing_is_left_behind(writing: TracedStep, tmp_path: Path) -> None:
    assert not list(tmp_path.parent.glob("bevdiag-*"))
