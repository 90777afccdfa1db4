"""Twenty ways to ask features for a value: computed by a rehearsal, or covered by an interval."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
from bevdiag.scenes.scenario import Scenario
from bevdiag.trace.alternatives import TracedStep

Trace = Callable[..., TracedStep]
_FILE = Path(__file__).parent / "repo" / "pcdet" / "models" / "detectors" / "asking.py"


def _ways() -> list[str]:
    spec = importlib.util.spec_from_file_location("asking", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.WAYS)


def _peak(traced: TracedStep, scenario: Scenario, bound: Bound | None = None) -> int:
    trace = traced.traces.get(scenario, traced.expected)
    target = make_target(torch="2.13.0", gpu="h200")
    profile = simulate(
        trace.stream, target, until_oom=False, **({} if bound is None else {"bound": bound})
    )
    return profile.peak.allocated_bytes


def _trace(trace_repo: Trace, way: str, **options: object) -> TracedStep:
    overrides = ("MODEL.NAME=Asking", f"MODEL.WAY={way}")
    return trace_repo("one_stage.yaml", overrides=overrides, **options)


@pytest.fixture(scope="module")
def plain(trace_repo: Trace) -> int:
    return _peak(_trace(trace_repo, "plain"), Scenario.EXPECTED)


@pytest.mark.parametrize("way", _ways())
def test_a_rehearsal_takes_the_branch_that_training_takes(
    way: str, plain: int, trace_repo: Trace
) -> None:
    traced = _trace(trace_repo, way)
    assert traced.expected.stream.unmodelled == ()
    assert _peak(traced, Scenario.EXPECTED) == pytest.approx(plain, rel=0.05)


@pytest.mark.parametrize("way", _ways())
def test_without_a_rehearsal_both_branches_are_covered(
    way: str, plain: int, trace_repo: Trace
) -> None:
    traced = _trace(trace_repo, way, rehearses=False)
    # Where nothing bounds it, nobody may say that the step fits.
    if not traced.expected.stream.unmodelled:
        assert _peak(traced, Scenario.HIGH, Bound.HIGH) >= plain * 0.999
    decided = way in ("isnan", "isfinite")
    if decided:
        assert traced.assumptions == ()
    else:
        assert traced.assumptions or traced.expected.stream.unmodelled


def test_a_number_that_is_only_logged_is_never_asked_for(trace_repo: Trace) -> None:
    traced = _trace(trace_repo, "plain", rehearses=False)
    assert traced.assumptions == ()
    assert traced.expected.stream.unmodelled == ()
