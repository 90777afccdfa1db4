from collections.abc import Callable
from pathlib import Path

from bevdiag.memory.events import Category
from bevdiag.source import SourceTrace

REPOSITORY = Path(__file__).parents[2] / "own_data"
CONFIG = REPOSITORY / "tools" / "cfgs" / "own.yaml"
POINTS = 300


Own = Callable[..., SourceTrace]


def _inputs(trace: SourceTrace) -> dict[str, tuple[int, ...]]:
    return {
        event.op: event.shape
        for event in trace.trace.stream.allocs()
        if event.category is Category.INPUT
    }
