"""The step's memory as the page's script reads it: columns of numbers, names given once."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from bevdiag.memory.events import Category
from bevdiag.memory.lifetimes import BlockLife
from bevdiag.prediction.memory_use import TimelinePoint
from bevdiag.report.amounts import format_shape
from bevdiag.report.html.bands import bands_of
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
