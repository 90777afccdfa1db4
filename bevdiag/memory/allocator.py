"""PyTorch's CUDA caching allocator, simulated.

Follows `c10/cuda/CUDACachingAllocator.cpp` with its default settings, for one device and stream.
Reserved bytes are what the allocator took from CUDA (segments), allocated bytes are the sizes of
the blocks handed out, as `torch.cuda.memory_allocated` counts them: the part of a block that was
too small to split off counts as allocated too.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

MIB = 1024**2

MIN_BLOCK_BYTES = 512
"""`kMinBlockSize`: every request is rounded up to a multiple of it."""
SMALL_REQUEST_BYTES = 1 * MIB
"""`kSmallSize`: requests up to it come from the small pool."""
LARGEST_REMAINDER_BYTES = 1 * MIB
"""The large pool splits a block only where more than this would remain; else it counts whole."""
SMALL_SEGMENT_BYTES = 2 * MIB
"""`kSmallBuffer`: a segment of the small pool."""
LARGE_SEGMENT_BYTES = 20 * MIB
"""`kLargeBuffer`: a segment for requests above `SMALL_REQUEST_BYTES`."""
MIN_OWN_SEGMENT_BYTES = 10 * MIB
"""`kMinLargeAlloc`: requests from it on get a segment of their own size."""
SEGMENT_ROUND_BYTES = 2 * MIB
"""`kRoundLarge`: such a segment's size is a multiple of it."""

TOP_ADDRESS = 1 << 47
"""Where the address space ends: cudaMalloc hands it out from the top, so the newest segment has the
lowest address. Best fit takes the lowest of equal blocks; with the opposite order the recorded
allocations of a step (`benchmarks/diff_originals.py`) reserve up to 7 % more or less."""


def round_up(size: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `size`."""
    return -(-size // multiple) * multiple


def block_bytes(nbytes: int) -> int:
    """Return what the allocator makes of a request of `nbytes` > 0."""
    return round_up(nbytes, MIN_BLOCK_BYTES)


def segment_bytes(rounded: int) -> int:
    """Return the size of the segment that a block of `rounded` bytes makes cudaMalloc ask for.

    This is also the figure of the message "Tried to allocate ...".
    """
    if rounded <= SMALL_REQUEST_BYTES:
        return SMALL_SEGMENT_BYTES
    if rounded < MIN_OWN_SEGMENT_BYTES:
        return LARGE_SEGMENT_BYTES
    return round_up(rounded, SEGMENT_ROUND_BYTES)


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


class AllocationRefusedError(Exception):
    """The request does not fit, even after every wholly free segment went back to CUDA.

    Attributes:
        requested_bytes: the segment that the request makes the allocator ask CUDA for.
    """

    def __init__(self, requested_bytes: int) -> None:
        self.requested_bytes = requested_bytes
        super().__init__(requested_bytes)


class CachingAllocator:
    """The allocator of one device and stream, starting empty.

    Args:
        capacity_bytes: the most that may be reserved; None for no limit.

    Attributes:
        allocated_bytes: sum of the blocks handed out.
        reserved_bytes: sum of the segments.
        num_retries: how often cached segments were released to make room (`num_alloc_retries`).
        serving: the number of the block that is being made, set by who walks a stream.
    """

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.allocated_bytes = 0
        self.reserved_bytes = 0
        self.num_retries = 0
        self.serving = -1
        self._small = Pool(is_small=True, min_remainder=MIN_BLOCK_BYTES)
        self._large = Pool(is_small=False, min_remainder=LARGEST_REMAINDER_BYTES + 1)
        self._lowest_address = TOP_ADDRESS
        self._segments: dict[int, tuple[Block, int]] = {}

    def malloc(self, nbytes: int) -> Block:
        """Hand out a block for a request of `nbytes` > 0.

        Raises:
            AllocationRefusedError: the memory it needs would exceed the capacity.
        """
        rounded = -(-nbytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES
        pool = self._small if rounded <= SMALL_REQUEST_BYTES else self._large
        block = self._take(pool, rounded) or self._grow(pool, rounded)
        if block.size - rounded >= pool.min_remainder:
            pool.add(block.cut(rounded))
        block.allocated = True
        self.allocated_bytes += block.size
        return block

    def room(self) -> tuple[int, int]:
        """Return the largest free block of the small and of the large pool, 0 without one."""
        small, large = self._small.free, self._large.free
        return small[-1][0] if small else 0, large[-1][0] if large else 0

    def free(self, block: Block) -> None:
        """Take a block back and merge it with its free neighbours."""
        self.allocated_bytes -= block.size
        block.allocated = False
        block.pool.add_merged(block)

    def release_cached(self) -> None:
        """Give wholly free segments back to CUDA, as `torch.cuda.empty_cache` does."""
        for pool in (self._small, self._large):
            kept = []
            for entry in pool.free:
                block = entry[2]
                if block.previous is None and block.next is None:
                    del self._segments[block.address]
                    self.reserved_bytes -= block.size
                else:
                    kept.append(entry)
            pool.free = kept

    def segments(self) -> Iterator[tuple[int, list[Block]]]:
        """Yield every segment's size and its blocks in address order."""
        for head, size in self._segments.values():
            blocks = []
            block: Block | None = head
            while block is not None:
                blocks.append(block)
                block = block.next
            yield size, blocks

    def _take(self, pool: Pool, rounded: int) -> Block | None:
        free = pool.free
        place = bisect_left(free, (rounded,))
        return free.pop(place)[2] if place < len(free) else None

    def _grow(self, pool: Pool, rounded: int) -> Block:
        size = segment_bytes(rounded)
        if not self._has_room(size):
            self.num_retries += 1
            self.release_cached()
            if not self._has_room(size):
                raise AllocationRefusedError(size)
        self._lowest_address -= size
        block = Block(pool, self._lowest_address, size)
        self._segments[block.address] = (block, size)
        self.reserved_bytes += size
        return block

    def _has_room(self, size: int) -> bool:
        return self.capacity_bytes is None or self.reserved_bytes + size <= self.capacity_bytes
