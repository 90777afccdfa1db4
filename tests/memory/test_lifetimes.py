"""Lives of blocks beside the totals that the profile states."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bevdiag.memory.device import make_target
from bevdiag.memory.events import Alloc, Category, EventStream, Free, Mark, Phase
from bevdiag.memory.lifetimes import block_lives
from bevdiag.memory.simulate import simulate

MIB = 2**20
UNLIMITED = make_target(torch="2.11.0")


def alloc(block, nbytes, category=Category.ACTIVATION, step=1):
    return Alloc(block, nbytes, category, Phase.FORWARD, step, "backbone", "aten::empty")


def test_a_block_lives_within_the_last_step():
    stream = EventStream(
        events=(
            alloc(1, 40 * MIB, Category.PARAMETER, step=0),
            Mark(1, Phase.FORWARD),
            alloc(2, MIB),
            Free(2),
            Mark(2, Phase.FORWARD),
            alloc(3, 3 * MIB, step=2),
            Free(3),
            alloc(4, 0, step=2),
            alloc(5, 100, step=2),
        ),
        num_steps=2,
    )
    lives = block_lives(stream, UNLIMITED)
    assert [(life.alloc.block, life.start, life.stop, life.nbytes) for life in lives] == [
        (1, 0, 5, 40 * MIB),
        (3, 1, 2, 3 * MIB),
        (5, 4, 5, 512),
    ]
    assert [life.is_state for life in lives] == [True, False, False]


@st.composite
def runs(draw):
    events, live, number = [], [], 0
    for step in range(draw(st.integers(1, 3)) + 1):
        if step:
            events.append(Mark(step, Phase.FORWARD))
        sizes = st.tuples(st.booleans(), st.integers(0, 30 * MIB))
        for is_free, nbytes in draw(st.lists(sizes, max_size=12)):
            if is_free and live:
                events.append(Free(live.pop(0)))
            else:
                number += 1
                live.append(number)
                events.append(alloc(number, nbytes, step=step))
    return EventStream(tuple(events), step)


@settings(max_examples=60, deadline=None)
@given(stream=runs())
def test_lives_add_up_to_the_timeline(stream):
    lives = block_lives(stream, UNLIMITED)
    for moment, sample in enumerate(simulate(stream, UNLIMITED).timeline):
        alive = sum(life.nbytes for life in lives if life.start <= moment < life.stop)
        assert alive == sample.allocated_bytes
