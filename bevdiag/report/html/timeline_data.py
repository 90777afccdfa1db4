"""The step's memory as the page's script reads it: columns of numbers, names given once.

A block belongs to a band of the timeline: a part of the state, or a module.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from bevdiag.memory.events import Category
from bevdiag.memory.history import BlockLife
from bevdiag.prediction.result import TimelinePoint
from bevdiag.report.amounts import format_shape
from bevdiag.report.printable import printable


def timeline_data(
    blocks: Sequence[BlockLife], points: Sequence[TimelinePoint], capacity_bytes: int | None
) -> dict[str, Any]:
    """Everything that the timeline draws; events count from 0, stops are exclusive.

    ``start``, ``span``, ``bytes``, ``band`` and ``what`` hold one entry a block; ``what`` points
    into ``names``, rows of module, operation, shape, dtype, purpose and phase.
    """
    bands = bands_of(blocks)
    names: dict[tuple[str, ...], int] = {}
    what = [names.setdefault(_name(block), len(names)) for block in blocks]
    totals = [point.allocated_bytes for point in points]
    return {
        "events": len(points),
        "phases": _runs([point.phase for point in points]),
        "modules": _runs([printable(point.module) for point in points]),
        "reserved": _runs([point.reserved_bytes for point in points]),
        "peak": totals.index(max(totals)) if totals else 0,
        "capacity": capacity_bytes,
        "bands": [printable(name) for name in bands.names],
        "stateBands": bands.num_state,
        "start": [block.start for block in blocks],
        "span": [block.stop - block.start for block in blocks],
        "bytes": [block.nbytes for block in blocks],
        "band": list(bands.of_block),
        "what": what,
        "names": [list(name) for name in names],
    }


def _name(block: BlockLife) -> tuple[str, ...]:
    alloc = block.alloc
    plain = alloc.category is Category.WORKSPACE and not alloc.shape  # bytes without a shape
    return (
        printable(alloc.module),
        printable(alloc.op),
        format_shape(alloc.shape) if alloc.dtype and not plain else "",
        alloc.dtype,
        alloc.category.value,
        alloc.phase.value,
    )


def _runs(values: Sequence[Any]) -> list[list[Any]]:
    """``[first event, value]`` wherever the value changes."""
    runs: list[list[Any]] = []
    event = 0
    for value, group in groupby(values):
        runs.append([event, value])
        event += sum(1 for _ in group)
    return runs


MOST_MODULES = 8
"""As many colours as people tell apart, whatever their eyes."""

_STATE = {
    "parameter": "weights",
    "gradient": "gradients",
    "optimizer state": "optimizer state",
    "input": "input",
}
_OUTSIDE = "outside the modules"


class Bands(NamedTuple):
    """The bands from the bottom up, and each block's place among them.

    Attributes:
        names: state first, then modules in the order in which they first allocate.
        num_state: how many of them are state, which lives through the whole step.
        of_block: the index into `names` of every block.
    """

    names: tuple[str, ...]
    num_state: int
    of_block: tuple[int, ...]


def bands_of(blocks: Sequence[BlockLife]) -> Bands:
    """Split the blocks into state and at most `MOST_MODULES` modules.

    The module that holds most, in bytes times events, is split into the modules inside it until no
    split stays within that number.
    """
    groups = _split(_inside([block for block in blocks if not block.is_state]))
    path_of = {id(block): path for path, members in groups.items() for block in members}
    present = {block.alloc.category.value for block in blocks if block.is_state}
    state = [name for category, name in _STATE.items() if category in present]
    modules = list(dict.fromkeys(path_of[id(block)] for block in blocks if id(block) in path_of))
    names = [*state, *modules]
    index = {name: number for number, name in enumerate(names)}
    of_block = tuple(
        index[_STATE[block.alloc.category.value] if block.is_state else path_of[id(block)]]
        for block in blocks
    )
    return Bands(tuple(names), len(state), of_block)


def _inside(blocks: Sequence[BlockLife], path: str = "") -> dict[str, list[BlockLife]]:
    """Group the blocks by the module one level below `path`; its own stay under `path`."""
    level = path.count(".") + 2 if path else 1
    parts: dict[str, list[BlockLife]] = defaultdict(list)
    for block in blocks:
        inside = ".".join(block.alloc.module.split(".")[:level])
        parts[inside or path or _OUTSIDE].append(block)
    return dict(parts)


def _split(groups: dict[str, list[BlockLife]]) -> dict[str, list[BlockLife]]:
    whole: set[str] = set()
    while candidates := [path for path in groups if path not in whole]:
        path = max(candidates, key=lambda path: _weight(groups[path]))
        parts = _inside(groups[path], path)
        if len(groups) - 1 + len(parts) > MOST_MODULES or set(parts) == {path}:
            whole.add(path)
        else:
            del groups[path]
            groups |= parts
    return groups


def _weight(members: Sequence[BlockLife]) -> int:
    return sum(block.nbytes * (block.stop - block.start) for block in members)
