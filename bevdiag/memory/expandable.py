"""The caching allocator with `expandable_segments:True`.

Each pool is one address range that CUDA maps page by page, so a free stretch can grow where
otherwise a new segment would be asked for. Pages are 2 MiB in the small pool, 20 MiB in the large.
"""

from bisect import insort
from operator import attrgetter

from bevdiag.memory.allocator import (
    LARGE_SEGMENT_BYTES,
    MIN_BLOCK_BYTES,
    SMALL_SEGMENT_BYTES,
    AllocationRefusedError,
    Block,
    CachingAllocator,
    Pool,
    round_up,
    segment_bytes,
)

_ADDRESS_RANGE_BYTES = LARGE_SEGMENT_BYTES << 30


class ExpandableAllocator(CachingAllocator):
    """As `CachingAllocator`, with expandable segments; every block is split exactly."""

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
