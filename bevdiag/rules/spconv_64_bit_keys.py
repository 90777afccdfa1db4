"""The grid has more cells than 32-bit keys can tell apart, so spconv's hash tables use 64.

What it means:
    The model works, but the tables that find a layer's neighbours take half as much again and are
    slower to search; keys and their sorting take twice as much.

Why it happens:
    spconv numbers the cells of the whole grid, empty ones and all samples included. From 2^31 - 1
    cells on the numbers need 64 bits, whatever the number of voxels.

How to fix:
    Often nothing. A smaller range, larger voxels or fewer samples a step bring the keys back to 32
    bits; spconv 1.x would refuse such a grid altogether.

Seen in:
    traveller59/spconv#545 (https://github.com/traveller59/spconv/issues/545): why a grid whose
    cells 32 bits cannot number works at all.
"""

from collections.abc import Iterator

from bevdiag.memory.events import Category
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield one finding for all layers whose rulebooks were made with 64-bit keys."""
    stream = evidence.trace.stream
    rulebooks = stream.allocs(stream.where(category=Category.RULEBOOK, step=1))
    keys = [event for event in rulebooks if event.dtype == "int64"]
    if not keys:
        return
    layers = list(dict.fromkeys(event.module for event in keys))
    largest = max(keys, key=lambda event: event.nbytes)
    yield finding(
        "BEV402",
        f"{len(layers)} sparse layers look for neighbours with 64-bit keys: their grids have 2^31 "
        f"- 1 cells or more, all samples together",
        module=layers[0],
        detail=(
            f"The largest table of keys is {format_size(largest.nbytes)}, in {largest.module}; "
            "with 32 bits it would be half of that.",
        ),
    )
