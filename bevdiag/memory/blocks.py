"""Blocks of device memory, their neighbours, and the free ones of a pool."""

from bisect import bisect_left, insort


class Block:
    """A stretch of a segment; `previous` and `next` are its neighbours there, by address.

    A block is handed out (`allocated`), free, or, in an expandable segment only, address space
    without memory behind it (not `mapped`).
    """

    __slots__ = ("address", "allocated", "mapped", "next", "pool", "previous", "size")

    def __init__(
        self,
        pool: "Pool",
        address: int,
        size: int,
        previous: "Block | None" = None,
        following: "Block | None" = None,
    ) -> None:
        self.pool = pool
        self.address = address
        self.size = size
        self.allocated = False
        self.mapped = True
        self.previous = previous
        self.next = following

    def cut(self, size: int) -> "Block":
        """Keep the first `size` bytes and return the rest, in the same state, as a neighbour."""
        after = self.next
        rest = Block(self.pool, self.address + size, self.size - size, self, after)
        rest.mapped = self.mapped
        if after is not None:
            after.previous = rest
        self.next, self.size = rest, size
        return rest

    def absorb_next(self) -> None:
        """Take over the bytes of the next block."""
        after = self.next
        assert after is not None
        self.size += after.size
        self.next = behind = after.next
        if behind is not None:
            behind.previous = self


class Pool:
    """The free blocks of one pool, ordered by size, then address.

    Args:
        is_small: whether it serves requests up to 1 MiB.
        min_remainder: a block is split where at least so many bytes would remain.
    """

    __slots__ = ("free", "is_small", "min_remainder")

    def __init__(self, *, is_small: bool, min_remainder: int) -> None:
        self.is_small = is_small
        self.min_remainder = min_remainder
        self.free: list[tuple[int, int, Block]] = []

    def best_fit(self, size: int) -> int:
        """Return the place in `free` of the smallest block of at least `size` bytes."""
        return bisect_left(self.free, (size,))

    def add(self, block: Block) -> None:
        """List a block as free."""
        insort(self.free, (block.size, block.address, block))

    def remove(self, block: Block) -> None:
        """Take a free block off the list, before its size changes or it is handed out."""
        del self.free[bisect_left(self.free, (block.size, block.address))]

    def add_merged(self, block: Block) -> Block:
        """List a block as free, merged with its free neighbours; return the merged one."""
        before, after = block.previous, block.next
        if before is not None and before.mapped and not before.allocated:
            self.remove(before)
            before.absorb_next()
            block = before
        if after is not None and after.mapped and not after.allocated:
            self.remove(after)
            block.absorb_next()
        insort(self.free, (block.size, block.address, block))
        return block
