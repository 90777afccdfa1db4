from types import SimpleNamespace
from typing import Any

from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category, EventStream, Phase
from bevdiag.memory.history import saved_bytes_by_module
from bevdiag.memory.simulate import simulate
from bevdiag.prediction.judged import judged
from bevdiag.prediction.predicted import layers_of
from bevdiag.prediction.result import Holder, Peak
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.wiring import LayerRecord

from ..streams import Move, free, make, mark, stream

TARGET = make_target(torch="2.11.0", gpu="h200")
MIB = 2**20


def _step(*forward: Move) -> EventStream:
    return stream(mark(1), *forward, mark(1, Phase.BACKWARD), mark(1, Phase.OPTIMIZER))


def _peak(expected: EventStream, **ends: EventStream) -> Peak:
    """The peak of a step, with others at its ends where they are given."""
    streams = {Scenario.EXPECTED: expected, **{Scenario(end): step for end, step in ends.items()}}
    traces: Any = {end: SimpleNamespace(stream=step) for end, step in streams.items()}
    return judged(traces, TARGET).peak()


def test_saved_bytes_are_what_the_forward_leaves_alive_with_children() -> None:
    step = _step(
        make(10, "a.b"),
        make(20, "a"),
        make(40, "a.b.c", category=Category.RULEBOOK),
        make(80, "a.b"),
        free(3),
        make(160, "a", category=Category.INPUT),
        make(320, ""),
    )
    assert saved_bytes_by_module(step) == {"a": 70, "a.b": 50, "a.b.c": 40}


def test_saved_bytes_are_those_of_the_last_step() -> None:
    steps = stream(
        *(mark(1), make(10, "a"), mark(1, Phase.BACKWARD)),
        *(mark(2), make(20, "a"), mark(2, Phase.BACKWARD)),
        num_steps=2,
    )
    assert saved_bytes_by_module(steps) == {"a": 20}


def test_blocks_alike_are_one_holder_and_the_largest_comes_first() -> None:
    step = _step(
        make(3 * MIB, "a", shape=(3,), dtype="float32"),
        make(2 * MIB, "b"),
        make(2 * MIB, "b"),
        make(2 * MIB, "b", op="exp"),
    )
    peak = _peak(step)
    assert peak.holders[0] == Holder(
        nbytes=4 * MIB,
        category="activation",
        module="b",
        op="aten::empty",
        shape=(),
        dtype="",
        count=2,
    )
    assert [(h.module, h.count) for h in peak.holders] == [("b", 2), ("a", 1), ("b", 1)]
    assert peak.by_category == {"activation": 9 * MIB}
    assert (peak.module, peak.op, peak.phase) == ("b", "exp", "forward")


def test_each_large_block_may_cost_a_remainder() -> None:
    step = _step(make(4 * MIB, "a"), make(3 * MIB, "a"), make(MIB, "a"))
    peak = _peak(step)
    assert peak.high_bytes == peak.allocated_bytes + 2 * MIB


def test_a_range_holds_the_expected_peak_whatever_its_ends_say() -> None:
    large, small = (_step(make(nbytes, "a")) for nbytes in (4 * MIB, 2 * MIB))
    peak = _peak(small, low=large, high=small)
    assert peak.low_bytes == peak.allocated_bytes == 2 * MIB
    assert peak.high_bytes == 3 * MIB
    peak = _peak(small, low=small, high=large)
    assert (peak.low_bytes, peak.high_bytes) == (2 * MIB, 5 * MIB)


def test_a_module_that_never_ran_keeps_nothing() -> None:
    record = LayerRecord(
        name="idle",
        type="Linear",
        depth=0,
        in_channels=1,
        out_channels=2,
        output_shape=None,
        params=3,
        has_children=False,
    )
    step = _step(make(MIB, "a"))
    (layer,) = layers_of((record,), step, simulate(step, TARGET))
    assert (layer.saved_bytes, layer.peak_bytes, layer.workspace_bytes) == (0, 0, 0)
    assert (layer.name, layer.type, layer.params) == ("idle", "Linear", 3)
