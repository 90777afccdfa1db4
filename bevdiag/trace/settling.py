"""The steps after the traced ones, in which the allocator's cache settles.

They ask for what the last traced step asks for, but find other blocks in the cache, and a large
block whose remainder is not worth splitting off counts whole. So peaks drift for some steps:
kitti's second at batch size 1 peaks 0.4 % higher in its fourth step than in its second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bevdiag.memory.events import CATEGORIES, MARK, Category, EventStream, Ints
from bevdiag.trace.leftovers import Leftovers
from bevdiag.trace.step import Trace

SETTLED_STEPS = 4
"""From here on the peaks of the runs looked at moved by less than 0.1 %."""

_KIND = ("category", "phase", "module", "op", "dtype")
"""What tells blocks apart; sizes may differ between steps whose counts do."""
_COLUMNS = ("nbytes", "category", "module", "op", "dtype", "shape", "request")
_STAYS = [CATEGORIES.index(c) for c in (Category.OPTIMIZER_STATE, Category.WORKSPACE)]
"""What is made once, for all steps to come."""
_COPIES = ("aten.clone.default", "aten.new_empty_strided.default")
"""What a gradient is that autograd cannot take as it comes; the next step makes no such copy."""


@dataclass(frozen=True, slots=True)
class _Following:
    """A step after the last traced one.

    Attributes:
        own: [blocks] those of the last traced step that it makes again.
        category: [blocks] what they are then.
        events: its events, each block being named by its place in `own`.
        is_of_before: [events] whether an event frees the block of that place of the step before.
        departures: by module path, the index in `events`.
    """

    own: Ints
    category: Ints
    events: Ints
    is_of_before: Ints
    departures: Mapping[str, int]


def settle(trace: Trace) -> Trace:
    """Repeat the last step until SETTLED_STEPS have passed.

    A trace whose last step does not leave what it found is returned as it is: the next one would
    be another. So is one of a single step where that does not show what the next one does.
    """
    stream, count = trace.stream, SETTLED_STEPS - trace.stream.num_steps
    if count <= 0:
        return trace
    first_mark = int(np.flatnonzero(stream.mark_steps == stream.num_steps)[0])
    begin = int(stream.marks[first_mark])
    if trace.leftovers is None:
        following = _like_the_last(stream, trace.departures, begin)
    else:
        following = _after_the_first(stream, trace.departures, begin, trace.leftovers)
    if following is None:
        return trace
    added, previous, size = [], following.own, len(following.own)
    for repeat in range(count):
        blocks = len(stream.nbytes) + repeat * size + np.arange(size)
        added.append(_events(following, blocks, previous))
        previous = blocks
    later = stream.mark_steps[first_mark:]
    columns = {
        name: np.concatenate([column, np.tile(column[following.own], count)])
        for name in _COLUMNS
        for column in (getattr(stream, name),)
    }
    columns["category"][len(stream.nbytes) :] = np.tile(following.category, count)
    settled = replace(
        stream,
        events=np.concatenate([stream.events, *added]),
        mark_steps=np.concatenate(
            [stream.mark_steps, *(later + repeat for repeat in range(1, count + 1))]
        ),
        mark_phases=np.concatenate(
            [stream.mark_phases, np.tile(stream.mark_phases[first_mark:], count)]
        ),
        num_steps=SETTLED_STEPS,
        **columns,
    )
    last = len(settled.events) - len(following.events)
    departures = {path: last + index for path, index in following.departures.items()}
    return replace(trace, stream=settled, departures=departures, leftovers=None)


def _events(following: _Following, blocks: Ints, previous: Ints) -> Ints:
    """Write a step down with these blocks, and those of the step before it."""
    own, of_before = (_renamed(following.events, numbers) for numbers in (blocks, previous))
    return np.where(following.is_of_before, of_before, own)


def _renamed(events: Ints, names: Ints) -> Ints:
    """Return the events with another number for each block."""
    renamed = events.copy()
    made, freed = events >= 0, (events < 0) & (events != MARK)
    renamed[made], renamed[freed] = names[events[made]], ~names[~events[freed]]
    return renamed


def _like_the_last(
    stream: EventStream, departures: Mapping[str, int], begin: int
) -> _Following | None:
    """Return the step like the last of several, from `begin` on; None where it may be another."""
    first = int(np.searchsorted(stream.made, begin))
    is_freed = stream.freed < len(stream.events)
    # What the step frees of the ones before, and its own blocks that are left to the next one.
    carried = np.flatnonzero(is_freed[:first] & (stream.freed[:first] >= begin))
    left = first + np.flatnonzero(~is_freed[first:])
    if not all(
        np.array_equal(getattr(stream, name)[carried], getattr(stream, name)[left])
        for name in _KIND
    ):
        return None
    place = np.arange(len(stream.nbytes)) - first
    place[carried] = left - first
    own, events = np.arange(first, len(place)), stream.events[begin:]
    is_of_before = np.zeros(len(events), bool)
    is_of_before[stream.freed[carried] - begin] = True
    return _Following(
        own,
        stream.category[own],
        _renamed(events, place),
        is_of_before,
        {path: index - begin for path, index in departures.items()},
    )


def _after_the_first(
    stream: EventStream, departures: Mapping[str, int], begin: int, left: Leftovers
) -> _Following | None:
    """Return the step after the first, which begins at `begin`; None where that does not show it.

    Whatever outlives the first step must be known to stay, or be let go by the second.
    """
    first, end = int(np.searchsorted(stream.made, begin)), len(stream.events)
    lasts = stream.freed == end
    stays = lasts & np.isin(stream.category, _STAYS)
    stays[:first] = True
    stays[list(left.older)] = True
    gradients = [block for _, block in left.gradients]
    known = stays.copy()
    known[[*gradients, *(block for _, block in left.overwritten)]] = True
    if np.any(lasts & ~known) or np.any(~lasts[:first] & (stream.freed[:first] >= begin)):
        return None
    if any(stream.names[stream.op[block]] in _COPIES for block in gradients):
        return None
    own = np.flatnonzero(~stays)
    category = stream.category[own]
    place = np.cumsum(~stays) - 1
    category[place[gradients]] = CATEGORIES.index(Category.TEMPORARY)
    events = stream.events[begin:]
    is_left_out = (events >= 0) & stays[np.maximum(events, 0)]
    events = _renamed(events, place)
    let_go = [*left.overwritten, *left.gradients]
    at = [event - begin for event, _ in let_go]
    of_before = np.arange(len(let_go)) < len(left.overwritten)
    kept = ~np.insert(is_left_out, at, False)
    skipped = np.concatenate([[0], np.cumsum(is_left_out)])
    return _Following(
        own,
        category,
        np.insert(events, at, [~place[block] for _, block in let_go])[kept],
        np.insert(np.zeros(len(events), bool), at, of_before)[kept],
        {
            path: index - begin + left.before[path] - int(skipped[index - begin])
            for path, index in departures.items()
        },
    )
