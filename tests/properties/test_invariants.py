"""What holds for every step, whatever its sizes: on small grids, traced for each example."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bevdiag.memory.events import MARK
from bevdiag.memory.simulate import simulate, walk
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.step import Trace

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
