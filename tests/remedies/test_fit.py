from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bevdiag.errors import ExitCode, InputError
from bevdiag.memory.verdict import Verdict
from bevdiag.remedies.fit import _bisected, _most, fit
from bevdiag.remedies.results import FitPoint
from bevdiag.trace.kept_voxels import Scenario

MIB = 2**20


def _search(limit: int, most: int, step: int = 1, *, doubling: bool = False) -> dict[int, FitPoint]:
    def traced(values: Sequence[int]) -> Any:
        for value in values:
            yield FitPoint(value=value, verdict=Verdict.FITS if value <= limit else Verdict.OVER)

    return _bisected(traced, lambda *_: None, most, step, doubling=doubling)


@pytest.mark.parametrize("doubling", [False, True])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 17, 63, 64, 200])
def test_the_largest_value_is_found_to_the_unit(limit: int, doubling: bool) -> None:
    points = _search(limit, 64, doubling=doubling)
    assert max((v for v, p in points.items() if p.fits), default=0) == min(limit, 64)
    assert len(points) <= 14


@pytest.mark.parametrize("limit", [700, 703, 9_999])
def test_a_cap_is_found_to_its_precision(limit: int) -> None:
    points = _search(limit, 10_000, 100)
    largest = max(v for v, p in points.items() if p.fits)
    assert limit - 100 < largest <= limit
    assert len(points) <= 16


def test_where_one_does_not_fit_nothing_else_is_tried() -> None:
    assert set(_search(0, 1000, doubling=True)) == {1, 2}


def test_a_batch_is_found_between_what_fits_and_what_does_not(small: Any) -> None:
    # The count is pinned for one sample, so the batch grows on its own points here.
    options = small.options(pinned=False, budget_bytes=400 * MIB)
    report = fit(small.config, options, "batch", small.progress)
    assert report.largest is not None
    fits = {point.value for point in report.points if point.fits}
    assert report.largest == max(fits)
    assert report.largest + 1 in {point.value for point in report.points if not point.fits}
    peaks = [point.peak_allocated_bytes or 0 for point in report.points]
    assert peaks == sorted(peaks)
    assert report.exit_code is ExitCode.FITS


def _stub(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    def point(source: Any, goal: Any, knob: str, value: int) -> FitPoint:
        verdict = Verdict.FITS if value <= limit else Verdict.OVER
        return FitPoint(value=value, verdict=verdict)

    monkeypatch.setattr("bevdiag.remedies.fit._point", point)


@pytest.mark.parametrize(("knob", "now"), [("points-per-voxel", 8), ("max-voxels", 400)])
def test_a_cap_that_the_scene_does_not_reach_does_not_bind(
    small: Any, monkeypatch: pytest.MonkeyPatch, knob: str, now: int
) -> None:
    _stub(monkeypatch, 10_000)
    report = fit(small.config, small.options(gpu="h200"), knob, small.progress)
    assert report.now == now
    assert not report.is_binding
    assert report.largest == report.binds_until


def test_nothing_fits_nothing(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _stub(monkeypatch, 0)
    report = fit(small.config, small.options(gpu="h200"), "max-voxels", small.progress)
    assert report.largest is None
    assert report.exit_code is ExitCode.FINDINGS


def test_a_batch_that_is_both_fixed_and_sought_is_refused(small: Any) -> None:
    with pytest.raises(InputError, match="--batch-size"):
        fit(small.config, small.options(gpu="h200", batch_size=2), "batch", small.progress)


def test_without_anything_to_fit_there_is_nothing_to_look_for(small: Any) -> None:
    with pytest.raises(InputError, match="say what the step must fit"):
        fit(small.config, small.options(), "batch", small.progress)


@pytest.mark.parametrize(("knob", "most"), [("points-per-voxel", 9), ("max-voxels", 3)])
def test_a_cap_binds_up_to_what_the_densest_scene_holds(
    monkeypatch: pytest.MonkeyPatch, knob: str, most: int
) -> None:
    counts = {Scenario.LOW: [1], Scenario.EXPECTED: [2, 1], Scenario.HIGH: [4, 9, 5]}

    def batch(scenario: Scenario) -> SimpleNamespace:
        points = np.array(counts[scenario])
        return SimpleNamespace(voxels=[SimpleNamespace(coords=points, num_points=points)])

    scenes: Any = SimpleNamespace(batch=batch, scenes_of_their_own=lambda: tuple(counts))
    monkeypatch.setattr("bevdiag.remedies.fit._turned", lambda source, knob, value: source)
    assert _most(scenes, knob) == most
