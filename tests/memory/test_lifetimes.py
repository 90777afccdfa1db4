"""Lives of blocks beside the totals that the profile states."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category
from bevdiag.memory.lifetimes import block_lives
from bevdiag.memory.simulate import simulate

from ..streams import free, make, mark, stream

MIB = 2**20
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
def runs(draw):
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
@given(run=runs())
def test_lives_add_up_to_the_timeline(run):
    lives = block_lives(run, UNLIMITED)
    for moment, allocated in enumerate(simulate(run, UNLIMITED).timeline.allocated):
        alive = sum(life.nbytes for life in lives if life.start <= moment < life.stop)
        assert alive == allocated
