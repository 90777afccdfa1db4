from collections.abc import Callable
from pathlib import Path

from bevdiag.memory.events import Category
from bevdiag.trace.alternatives import TracedStep

REPOSITORY = Path(__file__).parents[2] / "own_data"
CONFIG = REPOSITORY / "tools" / "cfgs" / "own.yaml"
POINTS = 300


Own = Callable[..., TracedStep]


def _inputs(trace: TracedStep) -> dict[str, tuple[int, ...]]:
    return {
        event.op: event.shape
        for event in trace.expected.stream.allocs()
        if event.category is Category.INPUT
    }
