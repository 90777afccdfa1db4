"""What holds for every step, whatever its sizes: on small grids, traced for each example."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bevdiag.memory.device import make_target
from bevdiag.memory.events import MARK, EventStream
from bevdiag.memory.requests import ConvCall
from bevdiag.memory.simulate import fits, floor_bytes, simulate, walk
from bevdiag.memory.verdict import Verdict
from bevdiag.memory.workspaces import workspace
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.judged import judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.step import Trace

from ..streams import free, make, mark, stream

MIB = 2**20
RULES = Path(__file__).resolve().parents[1] / "rules"
FILTERS = "MODEL.BACKBONE_2D.NUM_FILTERS"
RANGE = "DATA_CONFIG.POINT_CLOUD_RANGE"

few = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@cache
def _trace(config: str, batch_size: int, *overrides: str) -> tuple[BuiltIn, Trace]:
    options = InspectOptions(
        device="meta", batch_size=batch_size, overrides=overrides, cudnn="9.19", profile="none"
    )
    source = BuiltIn.read(RULES / config, options)
    return source, source.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED]


def _peak_bytes(config: str, batch_size: int, *overrides: str) -> int:
    source, trace = _trace(config, batch_size, *overrides)
    return simulate(trace.stream, source.target()).peak.allocated_bytes


@few
@given(batch_size=st.integers(1, 4))
def test_more_samples_never_lower_the_peak(batch_size: int) -> None:
    config = "pointpillar.yaml"
    assert _peak_bytes(config, batch_size) <= _peak_bytes(config, batch_size + 1)


@few
@given(filters=st.integers(1, 64), more=st.integers(1, 64))
def test_more_channels_never_lower_the_peak(filters: int, more: int) -> None:
    peaks = [
        _peak_bytes("pointpillar.yaml", 1, f"{FILTERS}=[{width}, 32]")
        for width in (filters, filters + more)
    ]
    assert peaks == sorted(peaks)


@few
@given(metres=st.integers(4, 12), more=st.integers(1, 8))
def test_more_range_never_lowers_the_peak(metres: int, more: int) -> None:
    peaks = [
        # Whole metres are whole pillars, and as many of them at every stride.
        _peak_bytes("pointpillar.yaml", 1, f"{RANGE}=[0, -3.2, -3, {1.6 * side:.1f}, 3.2, 1]")
        for side in (metres, metres + more)
    ]
    assert peaks == sorted(peaks)


@few
@given(config=st.sampled_from(["pointpillar.yaml", "second.yaml"]), batch_size=st.integers(1, 2))
def test_the_books_balance_after_every_event(config: str, batch_size: int) -> None:
    source, trace = _trace(config, batch_size)
    totals = walk(trace.stream, source.target())
    alive: dict[int, int] = {}
    assert (totals.granted >= totals.requested).all()
    for index, block in enumerate(trace.stream.events.tolist()):
        if block >= 0:
            alive[block] = totals.granted[block]
        elif block != MARK:
            del alive[~block]
        assert totals.allocated[index] == sum(alive.values())
        assert totals.reserved[index] >= totals.allocated[index]


@pytest.fixture(scope="module")
def report() -> Callable[[str], Prediction]:
    @cache
    def of(config: str) -> Prediction:
        options = InspectOptions(device="meta", remedies=False)
        inspected = inspect(RULES / config, options, lambda what, share: None)
        assert isinstance(inspected, Prediction)
        return inspected

    return of


CONFIGS = ["pointpillar.yaml", "second.yaml", "focal_dsvt.yaml"]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_expected_peak_lies_between_its_ends(
    report: Callable[[str], Prediction], config: str
) -> None:
    peak = report(config).peak
    assert 0 < peak.low_bytes <= peak.allocated_bytes <= peak.high_bytes
    assert peak.allocated_bytes <= peak.reserved_bytes <= peak.high_reserved_bytes
    for assumption in report(config).assumptions:
        assert assumption.low <= assumption.expected <= assumption.high


@pytest.mark.parametrize("config", CONFIGS)
def test_parts_add_up_to_totals(report: Callable[[str], Prediction], config: str) -> None:
    found = report(config)
    layers = found.layers
    assert sum(found.params.modules.values()) == found.params.total
    assert sum(layer.params for layer in layers if layer.depth == 0) == found.params.total
    assert sum(found.peak.by_category.values()) == found.peak.allocated_bytes
    assert sum(holder.nbytes for holder in found.peak.holders) <= found.peak.allocated_bytes
    for layer in layers:
        children = [
            child
            for child in layers
            if child.depth == layer.depth + 1 and child.name.startswith(f"{layer.name}.")
        ]
        assert sum(child.saved_bytes for child in children) <= layer.saved_bytes
        assert max((child.peak_bytes for child in children), default=0) <= layer.peak_bytes
        assert layer.peak_bytes <= found.peak.allocated_bytes


@st.composite
def _runs(draw: st.DrawFn) -> EventStream:
    """A run that makes and frees blocks of both pools in any order."""
    moves, alive = [mark(1)], []
    for number in range(draw(st.integers(1, 40))):
        moves.append(make(draw(st.integers(1, 30 * MIB))))
        alive.append(number)
        while len(alive) > 1 and draw(st.booleans()):
            moves.append(free(alive.pop(draw(st.integers(0, len(alive) - 1)))))
    return stream(*moves)


@settings(few, max_examples=40)
@given(run=_runs(), share=st.floats(0.4, 1.1), more=st.integers(1, 64), grows=st.booleans())
def test_more_budget_never_takes_a_fit_back(
    run: EventStream, share: float, more: int, grows: bool
) -> None:
    unlimited = make_target(torch="2.11.0")
    reserved = walk(run, unlimited, expandable_segments=grows).max_reserved_bytes

    def fitting(capacity_bytes: int) -> bool:
        target = replace(unlimited, capacity_bytes=capacity_bytes)
        return fits(run, target, expandable_segments=grows, whatever_more=True)

    capacity = int(share * reserved)
    assert fitting(reserved)
    if fitting(capacity):
        assert capacity >= floor_bytes(run, unlimited)
        assert fitting(capacity + more * MIB)
        # What is said to fit is never refused, whatever the capacity beyond.
        target = replace(unlimited, capacity_bytes=capacity + more * MIB)
        assert walk(run, target, expandable_segments=grows).refusal is None


_sides = st.sampled_from([1, 7, 16, 64, 200])
_channels = st.sampled_from([1, 3, 16, 64, 129, 512])


@settings(few, max_examples=60)
@given(
    direction=st.sampled_from(["forward", "dgrad", "wgrad"]),
    batch=st.integers(1, 8),
    channels=st.tuples(_channels, _channels),
    side=_sides,
    kernel=st.sampled_from([1, 2, 3, 5]),
    dtype=st.sampled_from(["float32", "float16"]),
    gpu=st.sampled_from(["gtx1080ti", "v100-16gb", "rtx4090", "h200"]),
    stack=st.sampled_from([("2.1.2", "8.9.2"), ("2.5.1", "9.1"), ("2.13.0", "9.20")]),
    benchmark=st.booleans(),
)
def test_a_workspace_lies_between_its_ends_and_more_samples_need_no_less_at_most(
    direction: str,
    batch: int,
    channels: tuple[int, int],
    side: int,
    kernel: int,
    dtype: str,
    gpu: str,
    stack: tuple[str, str],
    benchmark: bool,
) -> None:
    target = make_target(torch=stack[0], gpu=gpu, cudnn=stack[1], cudnn_benchmark=benchmark)

    def call(samples: int) -> ConvCall:
        return ConvCall(
            direction=direction,
            input_shape=(samples, channels[0], side + kernel - 1, side + kernel - 1),
            weight_shape=(channels[1], channels[0], kernel, kernel),
            output_shape=(samples, channels[1], side, side),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=1,
            transposed=False,
            element_bytes=4 if dtype == "float32" else 2,
            dtype=dtype,
        )

    found, larger = (workspace(call(samples), target) for samples in (batch, batch + 1))
    assert 0 <= found.low <= found.expected <= found.high
    assert found.high <= larger.high


@few
@given(share=st.floats(0.2, 1.5))
def test_what_is_said_to_fit_stops_nowhere(share: float) -> None:
    source, trace = _trace("pointpillar.yaml", 1)
    traces = {Scenario.EXPECTED: trace}
    peak = judged(traces, source.target()).peak()
    budget = int(share * peak.high_bytes)
    step = judged(traces, make_target(torch="2.11.0", budget_bytes=budget, profile="none"))
    assert (step.verdict is Verdict.OVER) <= (step.oom() is not None)
    assert (step.verdict is Verdict.FITS) <= (step.oom() is None)
