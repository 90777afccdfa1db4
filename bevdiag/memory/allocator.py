"""PyTorch's CUDA caching allocator, simulated.

Follows `c10/cuda/CUDACachingAllocator.cpp` with its default settings, for one device and stream.
Reserved bytes are what the allocator took from CUDA (segments), allocated bytes are the sizes of
the blocks handed out, as `torch.cuda.memory_allocated` counts them: the part of a block that was
too small to split off counts as allocated too.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter

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
_ADDRESS_RANGE_BYTES = LARGE_SEGMENT_BYTES << 30


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


@dataclass(slots=True, eq=False)
class Block:
    """A stretch of a segment; `previous` and `next` are its neighbours there, by address.

    A block is handed out (`allocated`), free, or, in an expandable segment only, address space
    without memory behind it (not `mapped`).
    """

    pool: "Pool"
    address: int
    size: int
    previous: "Block | None" = None
    next: "Block | None" = None
    allocated: bool = False
    mapped: bool = True

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


@dataclass(slots=True, eq=False, kw_only=True)
class Pool:
    """The free blocks of one pool, ordered by size, then address.

    Attributes:
        is_small: whether it serves requests up to 1 MiB.
        min_remainder: a block is split where at least so many bytes would remain.
    """

    is_small: bool
    min_remainder: int
    free: list[tuple[int, int, Block]] = field(default_factory=list)

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
        block = self._extend(pool, rounded)
        if block is None:
            self.num_retries += 1
            self.release_cached()
            block = self._extend(pool, rounded)
        if block is None:
            raise AllocationRefusedError(segment_bytes(rounded))
        return block

    def _extend(self, pool: Pool, rounded: int) -> Block | None:
        """Ask CUDA for a segment of its own; None when the capacity is reached."""
        size = segment_bytes(rounded)
        if not self._has_room(size):
            return None
        self._lowest_address -= size
        block = Block(pool, self._lowest_address, size)
        self._segments[block.address] = (block, size)
        self.reserved_bytes += size
        return block

    def _has_room(self, size: int) -> bool:
        return self.capacity_bytes is None or self.reserved_bytes + size <= self.capacity_bytes


class ExpandableAllocator(CachingAllocator):
    """As `CachingAllocator`, with `expandable_segments:True`; every block is split exactly.

    Each pool is one address range that CUDA maps page by page, so a free stretch can grow where
    otherwise a new segment would be asked for. Pages are 2 MiB in the small pool, 20 MiB in the
    large.
    """

    def __init__(self, capacity_bytes: int | None = None) -> None:
        super().__init__(capacity_bytes)
        self._holes: list[Block] = []
        for number, pool in enumerate((self._small, self._large)):
            pool.min_remainder = MIN_BLOCK_BYTES
            hole = Block(pool, number * _ADDRESS_RANGE_BYTES, _ADDRESS_RANGE_BYTES)
            hole.mapped = False
            self._holes.append(hole)
            self._segments[hole.address] = (hole, _ADDRESS_RANGE_BYTES)

    def release_cached(self) -> None:
        """Unmap every whole page that lies inside a free block."""
        for pool in (self._small, self._large):
            for _, _, block in list(pool.free):
                self._unmap(block)

    def _take(self, pool: Pool, rounded: int) -> Block | None:
        """Best fit, where a block that can still grow counts with the hole behind it."""
        free = pool.free
        place = pool.best_fit(rounded)
        if place == len(free):
            return None
        while place + 1 < len(free) and _reach(free[place + 1][2]) < _reach(free[place][2]):
            place += 1
        return free.pop(place)[2]

    def _extend(self, pool: Pool, rounded: int) -> Block | None:
        """Map pages until the lowest suitable stretch holds `rounded` bytes, and take it.

        None when the capacity is reached; what was mapped by then stays, as free blocks.
        """
        stretch: Block | None = self._lowest_stretch(pool, rounded)
        if stretch is not None and not stretch.mapped:
            stretch = self._map(stretch, min(stretch.size, rounded))
        while stretch is not None and stretch.size < rounded:
            hole = stretch.next
            assert hole is not None
            stretch = self._map(hole, min(rounded - stretch.size, hole.size))
        if stretch is not None:
            pool.remove(stretch)
        return stretch

    def _lowest_stretch(self, pool: Pool, rounded: int) -> Block:
        for hole in self._holes:
            if hole.pool is pool:
                before = hole.previous
                start = before if before is not None and not before.allocated else hole
                if _unallocated_run(start, rounded) >= rounded:
                    return start
        raise AssertionError("the last hole of a pool has room for everything")

    def _map(self, hole: Block, size: int) -> Block | None:
        """Put memory behind the first `size` bytes of a hole; return the free block they join."""
        mapped = round_up(size, _page_bytes(hole.pool))
        if not self._has_room(mapped):
            return None
        self._holes.remove(hole)
        rest = hole.cut(mapped) if mapped < hole.size else None
        hole.mapped = True
        if rest is not None:
            self._add_hole(rest)
        self.reserved_bytes += mapped
        return hole.pool.add_merged(hole)

    def _unmap(self, block: Block) -> None:
        pool = block.pool
        page = _page_bytes(pool)
        # Both address ranges start at multiples of both page sizes.
        begin = round_up(block.address, page)
        end = (block.address + block.size) // page * page
        if end <= begin:
            return
        pool.remove(block)
        if begin > block.address:
            free, block = block, block.cut(begin - block.address)
            pool.add(free)
        if end < block.address + block.size:
            pool.add(block.cut(end - block.address))
        self.reserved_bytes -= block.size
        block.mapped = False
        self._add_hole(block)

    def _add_hole(self, hole: Block) -> None:
        """List a hole, merged with the holes beside it."""
        before, after = hole.previous, hole.next
        if before is not None and not before.mapped:
            self._holes.remove(before)
            before.absorb_next()
            hole = before
        if after is not None and not after.mapped:
            self._holes.remove(after)
            hole.absorb_next()
        insort(self._holes, hole, key=attrgetter("address"))


def _page_bytes(pool: Pool) -> int:
    return SMALL_SEGMENT_BYTES if pool.is_small else LARGE_SEGMENT_BYTES


def _reach(block: Block) -> int:
    after = block.next
    return block.size + (after.size if after is not None and not after.mapped else 0)


def _unallocated_run(block: Block | None, enough: int) -> int:
    total = 0
    while total < enough and block is not None and not block.allocated:
        total += block.size
        block = block.next
    return total
