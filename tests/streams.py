"""Event streams by hand: what a run asks for, in order, as the books of a run take it."""

from collections.abc import Callable
from typing import Any

from bevdiag.memory.events import Category, EventStream, Phase
from bevdiag.trace.ledger import Ledger

Move = Callable[[Ledger], object]


def make(nbytes: int, module: str = "backbone", **wanted: Any) -> Move:
    """A block is made; the first is number 0. `wanted` are more arguments of `allocate`."""
    asked = {"category": Category.ACTIVATION, "op": "aten::empty", "dtype": "", **wanted}
    return lambda books: books.allocate(nbytes, module=module, **asked)


def free(block: int) -> Move:
    """A block's last owner lets go of it."""
    return lambda books: books.free(block)


def mark(step: int, phase: Phase = Phase.FORWARD) -> Move:
    """A boundary; what comes before the first one is loading, which event 0 announces."""
    return lambda books: books.mark(step, phase)


def stream(*moves: Move, num_steps: int = 1) -> EventStream:
    """The stream of a run."""
    books = Ledger()
    for move in moves:
        move(books)
    return books.stream(num_steps)
