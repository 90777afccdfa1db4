import pytest

from bevdiag.memory.events import Category, Phase
from bevdiag.trace.ledger import Ledger


def _allocate(books: Ledger, nbytes: int, module: str = "net") -> int:
    return books.allocate(nbytes, module=module, category=None, op="aten.relu", dtype="float32")


def test_blocks_are_numbered_as_they_are_made_and_keep_what_they_are_for() -> None:
    books = Ledger()
    books.mark(1, Phase.FORWARD)
    numbers = [_allocate(books, 4, "net.a"), _allocate(books, 8, "net.b")]
    books.free(numbers[0])
    run = books.stream(1)
    assert numbers == [0, 1]
    made = [(alloc.module, alloc.nbytes, alloc.category) for alloc in run.allocs()]
    # What outlives the forward pass is what the backward pass needs.
    assert made == [("net.a", 4, Category.TEMPORARY), ("net.b", 8, Category.ACTIVATION)]
    assert run.freed[0] < len(run.events) == run.freed[1]


def test_a_block_that_turns_out_to_be_a_gradient_is_one() -> None:
    books = Ledger()
    books.mark(1, Phase.BACKWARD)
    block = _allocate(books, 4)
    books.is_gradient(block)
    assert books.stream(1).alloc(block).category is Category.GRADIENT


def test_what_is_freed_twice_is_no_run() -> None:
    books = Ledger()
    block = _allocate(books, 4)
    books.free(block)
    books.free(block)
    with pytest.raises(ValueError, match="which is not alive"):
        books.stream(1)
