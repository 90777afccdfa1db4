from typing import Any

from bevdiag.memory.device import make_target
from bevdiag.memory.events import Alloc, Category, Event, EventStream, Free, Mark, Phase
from bevdiag.memory.simulate import simulate
from bevdiag.prediction.memory_use import Holder
from bevdiag.prediction.summary import layers_of, peak_of, saved_bytes_by_module
from bevdiag.trace.wiring import LayerRecord

TARGET = make_target(torch="2.11.0", gpu="h200")
MIB = 2**20


def _alloc(block: int, nbytes: int, module: str, **wanted: Any) -> Alloc:
    fields: dict[str, Any] = {
        "category": Category.ACTIVATION,
        "phase": Phase.FORWARD,
        "step": 1,
        "op": "relu",
        **wanted,
    }
    return Alloc(block=block, nbytes=nbytes, module=module, **fields)


def _step(*forward: Event) -> EventStream:
    later = (Mark(1, Phase.BACKWARD), Mark(1, Phase.OPTIMIZER))
    return EventStream(events=[Mark(1, Phase.FORWARD), *forward, *later], num_steps=1)


def test_saved_bytes_are_what_the_forward_leaves_alive_with_children() -> None:
    stream = _step(
        _alloc(1, 10, "a.b"),
        _alloc(2, 20, "a"),
        _alloc(3, 40, "a.b.c", category=Category.RULEBOOK),
        _alloc(4, 80, "a.b"),
        Free(4),
        _alloc(5, 160, "a", category=Category.INPUT),
        _alloc(6, 320, ""),
    )
    assert saved_bytes_by_module(stream) == {"a": 70, "a.b": 50, "a.b.c": 40}


def test_saved_bytes_are_those_of_the_last_step() -> None:
    first, second = _alloc(1, 10, "a"), _alloc(2, 20, "a", step=2)
    events = [
        *(Mark(1, Phase.FORWARD), first, Mark(1, Phase.BACKWARD)),
        *(Mark(2, Phase.FORWARD), second, Mark(2, Phase.BACKWARD)),
    ]
    assert saved_bytes_by_module(EventStream(events=events, num_steps=2)) == {"a": 20}


def test_blocks_alike_are_one_holder_and_the_largest_comes_first() -> None:
    stream = _step(
        _alloc(1, 3 * MIB, "a", shape=(3,), dtype="float32"),
        _alloc(2, 2 * MIB, "b"),
        _alloc(3, 2 * MIB, "b"),
        _alloc(4, 2 * MIB, "b", op="exp"),
    )
    profile = simulate(stream, TARGET)
    peak = peak_of(profile, profile, profile)
    assert peak.holders[0] == Holder(
        nbytes=4 * MIB,
        category="activation",
        module="b",
        op="relu",
        shape=(),
        dtype="",
        count=2,
    )
    assert [(h.module, h.count) for h in peak.holders] == [("b", 2), ("a", 1), ("b", 1)]
    assert peak.by_category == {"activation": 9 * MIB}
    assert (peak.module, peak.op, peak.phase) == ("b", "exp", "forward")


def test_each_large_block_may_cost_a_remainder() -> None:
    stream = _step(_alloc(1, 4 * MIB, "a"), _alloc(2, 3 * MIB, "a"), _alloc(3, MIB, "a"))
    profile = simulate(stream, TARGET)
    peak = peak_of(profile, profile, profile)
    assert peak.high_bytes == peak.allocated_bytes + 2 * MIB


def test_a_range_holds_the_expected_peak_whatever_its_ends_say() -> None:
    large, small = (
        simulate(_step(_alloc(1, nbytes, "a")), TARGET) for nbytes in (4 * MIB, 2 * MIB)
    )
    peak = peak_of(small, large, small)
    assert peak.low_bytes == peak.allocated_bytes == 2 * MIB
    assert peak.high_bytes == 3 * MIB
    peak = peak_of(small, small, large)
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
    stream = _step(_alloc(1, MIB, "a"))
    (layer,) = layers_of((record,), stream, simulate(stream, TARGET))
    assert (layer.saved_bytes, layer.peak_bytes, layer.workspace_bytes) == (0, 0, 0)
    assert (layer.name, layer.type, layer.params) == ("idle", "Linear", 3)
