"""The allocator's history, replayed: its books balance after every entry."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category
from bevdiag.memory.history import Action, block_lives, record
from bevdiag.memory.simulate import simulate, walk

from ..streams import free, make, mark, stream

MIB = 2**20


def target(nbytes=None):
    return make_target(torch="2.11.0", budget_bytes=nbytes)


@st.composite
def runs(draw):
    moves, live, number = [mark(1)], [], 0
    sizes = st.tuples(st.booleans(), st.integers(0, 30 * MIB))
    for is_free, nbytes in draw(st.lists(sizes, max_size=30)):
        if is_free and live:
            moves.append(free(live.pop(draw(st.integers(0, len(live) - 1)))))
        else:
            moves.append(make(nbytes))
            live.append(number)
            number += 1
    return stream(*moves)


@settings(max_examples=60, deadline=None)
@given(run=runs(), capacity=st.sampled_from([None, 60 * MIB, 150 * MIB]))
def test_the_entries_lead_to_the_segments(run, capacity):
    history = record(run, target(capacity))
    segments, blocks = {}, {}
    for entry in history.entries:
        match entry.action:
            case Action.SEGMENT_ALLOC:
                segments[entry.address] = entry.nbytes
            case Action.SEGMENT_FREE:
                assert segments.pop(entry.address) == entry.nbytes
            case Action.ALLOC:
                assert entry.address not in blocks
                assert any(a <= entry.address < a + size for a, size in segments.items())
                blocks[entry.address] = entry.nbytes
            case Action.FREE:
                assert blocks.pop(entry.address) == entry.nbytes
    assert {segment.address: segment.size for segment in history.segments} == segments
    filled = [block for segment in history.segments for block in segment.blocks]
    assert {block.address: block.nbytes for block in filled if block.cause} == blocks


@settings(max_examples=60, deadline=None)
@given(run=runs(), capacity=st.sampled_from([None, 60 * MIB, 150 * MIB]))
def test_the_segments_hold_what_the_simulation_says(run, capacity):
    history = record(run, target(capacity))
    totals = walk(run, target(capacity))
    held = [block for segment in history.segments for block in segment.blocks if block.cause]
    reserved = totals.reserved[-1] if totals.refusal is None else totals.refusal.reserved_bytes
    assert sum(segment.size for segment in history.segments) == reserved
    assert sum(block.size for block in held) == totals.allocated[-1]
    for segment in history.segments:
        address = segment.address
        for block in segment.blocks:
            assert block.address == address
            address += block.size
        assert address == segment.address + segment.size


def test_a_step_that_does_not_fit_ends_with_what_was_asked_for():
    history = record(stream(make(40 * MIB), make(70 * MIB, op="cat")), target(100 * MIB))
    assert [entry.action.value for entry in history.entries] == ["segment_alloc", "alloc", "oom"]
    oom = history.entries[-1]
    assert (oom.nbytes, oom.free_bytes, oom.cause.op) == (70 * MIB, 60 * MIB, "cat")


def test_cached_segments_go_back_before_an_allocation_that_needs_them():
    run = stream(make(40 * MIB), free(0), make(70 * MIB, op="cat"))
    history = record(run, target(100 * MIB))
    assert [(entry.action.value, entry.cause.op) for entry in history.entries] == [
        ("segment_alloc", "aten::empty"),
        ("alloc", "aten::empty"),
        ("free_completed", "aten::empty"),
        ("segment_free", "cat"),
        ("segment_alloc", "cat"),
        ("alloc", "cat"),
    ]


UNLIMITED = make_target(torch="2.11.0")


def test_a_block_lives_within_the_last_step():
    steps = stream(
        make(40 * MIB, category=Category.PARAMETER),
        *(mark(1), make(MIB), free(1)),
        *(mark(2), make(3 * MIB), free(2), make(0), make(100)),
        num_steps=2,
    )
    lives = block_lives(steps, UNLIMITED)
    assert [(life.alloc.block, life.start, life.stop, life.nbytes) for life in lives] == [
        (0, 0, 5, 40 * MIB),
        (2, 1, 2, 3 * MIB),
        (4, 4, 5, 512),
    ]
    assert [life.is_state for life in lives] == [True, False, False]


@st.composite
def steps(draw):
    moves, live, number = [], [], 0
    for step in range(draw(st.integers(1, 3)) + 1):
        if step:
            moves.append(mark(step))
        sizes = st.tuples(st.booleans(), st.integers(0, 30 * MIB))
        for is_free, nbytes in draw(st.lists(sizes, max_size=12)):
            if is_free and live:
                moves.append(free(live.pop(0)))
            else:
                moves.append(make(nbytes))
                live.append(number)
                number += 1
    return stream(*moves, num_steps=step)


@settings(max_examples=60, deadline=None)
@given(run=steps())
def test_lives_add_up_to_the_timeline(run):
    lives = block_lives(run, UNLIMITED)
    for moment, allocated in enumerate(simulate(run, UNLIMITED).timeline.allocated):
        alive = sum(life.nbytes for life in lives if life.start <= moment < life.stop)
        assert alive == allocated
