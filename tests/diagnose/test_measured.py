"""A measurement that goes wrong: the child may die of anything, the parent only tells of it."""

import faulthandler
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

from bevdiag.diagnose import measured
from bevdiag.diagnose.measured import measure, measurement_of
from bevdiag.memory.simulate import simulate
from bevdiag.trace.kept_voxels import SITE, Scenario
from bevdiag.trace.measure import MeasureTask, PhaseMeasurement, StepMeasurements, run_child

Child = Callable[[MeasureTask, Connection], None]
GIB = 2**30


def _begin(pipe: Connection) -> None:
    pipe.send(StepMeasurements(gpu="made up", last_module="backbone_3d.dsvt"))


def exits(task: MeasureTask, pipe: Connection) -> None:
    _begin(pipe)
    os._exit(7)


def is_killed(task: MeasureTask, pipe: Connection) -> None:
    _begin(pipe)
    faulthandler.disable()  # pytest's, which the fork inherits, would print where
    os.kill(os.getpid(), signal.SIGSEGV)


def dies_at_once(task: MeasureTask, pipe: Connection) -> None:
    os._exit(1)


def hangs(task: MeasureTask, pipe: Connection) -> None:
    _begin(pipe)
    time.sleep(60)


def stops(task: MeasureTask, pipe: Connection) -> None:
    run_child(task, pipe)  # there is no CUDA device to measure on


def ends(task: MeasureTask, pipe: Connection) -> None:
    pipe.send(StepMeasurements(gpu=str(task.seed), done=True))
    pipe.close()


@pytest.fixture
def run(small: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Child], Any]:
    """Measures with another child, forked: a fresh interpreter takes seconds to import torch."""
    fork = multiprocessing.get_context("fork")

    def run(child: Child) -> tuple[StepMeasurements, str | None]:
        monkeypatch.setattr(multiprocessing, "get_context", lambda _: fork)
        monkeypatch.setattr(measured, "run_child", child)
        monkeypatch.setattr(measured, "require_cuda", lambda: None)
        session = small.session()
        variant = session.variant(small.config)
        return measure(variant, session.scene(variant), session.target(), seed=3)

    return run


@pytest.mark.parametrize(
    ("child", "failure"),
    [
        (exits, "ended with exit code 7"),
        (is_killed, f"died of signal {signal.SIGSEGV.value}"),
    ],
)
def test_a_child_that_dies_is_a_failure_with_its_last_module(
    run: Any, child: Child, failure: str
) -> None:
    latest, told = run(child)
    assert failure in told
    assert "backbone_3d.dsvt" in told
    assert latest.gpu == "made up"


def test_a_child_that_dies_before_the_first_module(run: Any) -> None:
    latest, told = run(dies_at_once)
    assert "before the first module" in told
    assert latest == StepMeasurements()


def test_a_child_that_hangs_is_killed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "TIMEOUT_SECONDS", 2.0)
    began = time.monotonic()
    _, told = run(hangs)
    assert time.monotonic() - began < 20
    assert "said nothing for 2 s" in told
    assert "backbone_3d.dsvt" in told


def test_a_child_that_raises_tells_what(run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    _, told = run(stops)
    assert told.startswith("the measuring process stopped with ")
    assert "before the first module" in told
    assert "Traceback" not in capfd.readouterr().err


def test_a_child_that_ends_well(run: Any) -> None:
    latest, told = run(ends)
    assert told is None
    assert latest.done
    assert latest.gpu == "3"  # it was given the task


def _phases(*peaks: tuple[int, str, int]) -> list[PhaseMeasurement]:
    return [
        PhaseMeasurement(step=s, phase=p, peak_allocated_bytes=n, allocated_after_bytes=n // 2)
        for s, p, n in peaks
    ]


def test_a_measurement_stands_beside_its_prediction(small: Any) -> None:
    trace = small.traced().traces[Scenario.EXPECTED]
    profile = simulate(trace.stream, small.session().target(), until_oom=False)
    predicted = profile.peak.allocated_bytes
    steps = StepMeasurements(
        gpu="made up",
        phases=_phases((1, "forward", 2 * predicted), (2, "forward", predicted // 2)),
        modules={"backbone_3d": 5, "not_there": 6},
        kept_voxels={f"{SITE}@1": 10, f"{SITE}@2": 20},
    )
    found = measurement_of(steps, "it broke", trace, profile)
    assert found.peak_allocated_bytes == predicted // 2  # the first step does not count
    assert found.error_percent == pytest.approx(100, abs=0.1)
    assert [phase.phase for phase in found.phases] == ["forward"]
    assert set(found.predicted_modules) == {"backbone_3d"}
    assert 0 < found.predicted_modules["backbone_3d"] <= predicted
    assert found.kept_voxels == {f"{SITE}@1": 10, f"{SITE}@2": 20}
    assert found.failure == "it broke"


def test_nothing_measured_has_no_error(small: Any) -> None:
    trace = small.traced().traces[Scenario.EXPECTED]
    profile = simulate(trace.stream, small.session().target(), until_oom=False)
    found = measurement_of(StepMeasurements(), None, trace, profile)
    assert found.peak_allocated_bytes is None
    assert found.error_percent is None
    assert found.phases == ()
