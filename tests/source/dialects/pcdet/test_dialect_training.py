"""The repository's own loss function and optimizer, whatever it calls them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.memory.events import Category
from bevdiag.scenes import Scenario
from bevdiag.source import read_saved_batch
from bevdiag.trace.alternatives import TracedStep
from tests.source.tracing import trace_source

REPOSITORY = Path(__file__).parents[2] / "own_data"
CONFIG = REPOSITORY / "tools" / "cfgs" / "own.yaml"
PLAIN = 8 * 4 + 4
LOOSE = 1000
Traced = Callable[..., TracedStep]


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    points = np.random.default_rng(0).uniform(0, 20, (140, 9))
    points[:, 0] = np.repeat([0, 1], 70)
    np.savez(tmp_path / "batch.npz", points=points, gt_boxes=np.ones((2, 3, 8)), batch_size=2)
    scenes: Any = {Scenario.EXPECTED: read_saved_batch(tmp_path / "batch.npz")}

    def trace(
        model: str, written: str = "adamW", optimizer: str = "adamw", root: Path = REPOSITORY
    ) -> TracedStep:
        texts = (f"MODEL.NAME={model}", f"OPTIMIZATION.OPTIMIZER={written}")
        return trace_source(CONFIG, root, scenes=scenes, overrides=texts, optimizer=optimizer)

    return trace


def _state(trace: TracedStep) -> int:
    """Values that the optimizer keeps."""
    kept = trace.expected.stream.allocs()
    return sum(e.nbytes for e in kept if e.category is Category.OPTIMIZER_STATE) // 4


def test_the_optimizer_is_the_repositorys_own_under_its_own_name(traced: Traced) -> None:
    trace = traced("Loose", "adam_cosin", "adam_onecycle")
    assert dict(trace.expected.params_not_optimized) == {}
    assert _state(trace) >= 2 * (PLAIN + LOOSE)


def test_what_its_optimizer_leaves_out_is_left_out(traced: Traced) -> None:
    assert dict(traced("Loose").expected.params_not_optimized) == {"loose": LOOSE}


def test_an_optimizer_of_the_options_replaces_it(traced: Traced) -> None:
    trace = traced("Loose", optimizer="sgd")
    assert dict(trace.expected.params_not_optimized) == {}
    assert 0 < _state(trace) < 2 * LOOSE


def test_one_that_cannot_be_built_is_said_with_its_place(traced: Traced) -> None:
    trace = traced("Loose", "lion")
    (said,) = [finding for finding in trace.findings if "the optimizer is the one of" in finding]
    assert "optimization/__init__.py:27: NotImplementedError: there is no optimizer lion" in said
    assert dict(trace.expected.params_not_optimized) == {}


def test_the_loss_is_that_of_the_training_loops_function(traced: Traced) -> None:
    assert traced("InParts").expected.params_without_grad == {}


def test_the_package_may_be_called_anything(traced: Traced, tmp_path: Path) -> None:
    renamed = tmp_path / "repository"
    shutil.copytree(REPOSITORY, renamed)
    (renamed / "pcdet").rename(renamed / "sonardet")
    trace = traced("Loose", root=renamed)
    assert trace.expected.params_by_module["total"] == PLAIN + LOOSE
