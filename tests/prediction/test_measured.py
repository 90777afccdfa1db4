"""A measurement that goes wrong: the child may die of anything, the parent only tells of it."""

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from bevdiag.children import Tell, announce
from bevdiag.memory.events import Phase
from bevdiag.memory.profile import PhaseUse
from bevdiag.memory.simulate import simulate
from bevdiag.prediction import measured
from bevdiag.prediction.measured import measure, measurement_of
from bevdiag.trace.kept_voxels import SITE, Scenario
from bevdiag.trace.measure import MeasureTask, StepMeasurements, run_child

Measure = Callable[[MeasureTask, Tell], StepMeasurements]


@pytest.fixture
def run(small: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Measure], Any]:
    """Measures with another function, forked: a fresh interpreter takes seconds to import torch."""
    fork = multiprocessing.get_context("fork")

    def run(function: Measure, **wanted: Any) -> tuple[StepMeasurements, str | None]:
        monkeypatch.setattr(multiprocessing, "get_context", lambda _: fork)
        monkeypatch.setattr(measured, "run_child", function)
        monkeypatch.setattr(measured, "require_cuda", lambda: None)
        return measure(small.source(seed=3, **wanted))

    return run


def _begin(tell: Tell) -> None:
    announce("in backbone_3d.dsvt")
    tell(StepMeasurements(gpu="made up"))


def exits(task: MeasureTask, tell: Tell) -> StepMeasurements:
    _begin(tell)
    os._exit(7)


def hangs(task: MeasureTask, tell: Tell) -> StepMeasurements:
    _begin(tell)
    time.sleep(60)
    raise AssertionError


@pytest.mark.parametrize(
    ("function", "failure"),
    [(exits, "ended with exit code 7"), (hangs, "was stopped after 1 s without an answer")],
)
def test_what_a_child_reported_before_it_died_is_kept(
    run: Any, function: Measure, failure: str
) -> None:
    latest, reported = run(function, timeout_seconds=1.0)
    assert reported == f"the measuring process {failure} in backbone_3d.dsvt"
    assert latest.gpu == "made up"


def test_a_child_that_dies_before_the_first_module(run: Any) -> None:
    latest, reported = run(lambda task, tell: os._exit(1))
    assert "before the first module" in reported
    assert latest == StepMeasurements()


def test_a_child_that_raises_tells_what(run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    _, reported = run(run_child)  # there is no CUDA device to measure on
    assert reported.startswith("the measuring process stopped with ")
    assert "before the first module" in reported
    assert "Traceback" not in capfd.readouterr().err


def test_a_child_that_ends_well(run: Any) -> None:
    latest, reported = run(lambda task, tell: StepMeasurements(gpu=str(task.seed)))
    assert reported is None
    assert latest.gpu == "3"  # it was given the task


def _phases(*peaks: tuple[int, int]) -> list[tuple[int, PhaseUse]]:
    return [
        (
            step,
            PhaseUse(
                phase=Phase.FORWARD,
                peak_allocated_bytes=nbytes,
                allocated_after_bytes=nbytes // 2,
            ),
        )
        for step, nbytes in peaks
    ]


def test_a_measurement_stands_beside_its_prediction(small: Any) -> None:
    trace = small.recorded().traces[Scenario.EXPECTED]
    profile = simulate(trace.stream, small.source().target(), until_oom=False)
    predicted = profile.peak.allocated_bytes
    steps = StepMeasurements(
        gpu="made up",
        phases=_phases((1, 2 * predicted), (2, predicted // 2)),
        modules={"backbone_3d": 5, "not_there": 6},
        kept_voxels={f"{SITE}@1": 10, f"{SITE}@2": 20},
    )
    found = measurement_of(steps, "it broke", trace, profile)
    assert found.peak_allocated_bytes == predicted // 2  # the first step does not count
    assert found.error_percent == pytest.approx(100, abs=0.1)
    assert list(found.phases) == ["forward"]
    assert set(found.predicted_modules) == {"backbone_3d"}
    assert 0 < found.predicted_modules["backbone_3d"] <= predicted
    assert found.kept_voxels == {f"{SITE}@1": 10, f"{SITE}@2": 20}
    assert found.failure == "it broke"


def test_nothing_measured_has_no_error(small: Any) -> None:
    trace = small.recorded().traces[Scenario.EXPECTED]
    profile = simulate(trace.stream, small.source().target(), until_oom=False)
    found = measurement_of(StepMeasurements(), None, trace, profile)
    assert found.peak_allocated_bytes is None
    assert found.error_percent is None
    assert found.phases == {}
