import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bevdiag.memory.allocator import (
    MIB,
    AllocationRefusedError,
    Block,
    CachingAllocator,
    ExpandableAllocator,
    Pool,
    block_bytes,
    segment_bytes,
)


@pytest.mark.parametrize(
    ("nbytes", "rounded", "segment"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB, 11 * MIB, 12 * MIB),
    ],
)
def test_a_request_is_rounded_to_blocks_and_segments(nbytes, rounded, segment):
    assert block_bytes(nbytes) == rounded
    assert segment_bytes(rounded) == segment
    allocator = CachingAllocator()
    allocator.malloc(nbytes)
    assert allocator.reserved_bytes == segment


def test_the_small_pool_splits_down_to_a_block():
    allocator = CachingAllocator()
    for _ in range(4096):
        allocator.malloc(300)
    assert allocator.allocated_bytes == allocator.reserved_bytes == 2 * MIB


def test_the_large_pool_keeps_a_remainder_of_one_mib_in_the_block():
    allocator = CachingAllocator()
    assert allocator.malloc(11 * MIB).size == 12 * MIB
    assert allocator.malloc(11 * MIB - 512).size == 11 * MIB - 512
    assert allocator.allocated_bytes == 23 * MIB - 512
    assert allocator.reserved_bytes == 24 * MIB


def test_the_smallest_block_that_holds_the_request_is_taken():
    allocator = CachingAllocator()
    big, small = allocator.malloc(40 * MIB), allocator.malloc(30 * MIB)
    allocator.free(big)
    allocator.free(small)
    assert allocator.malloc(29 * MIB) is small
    assert allocator.reserved_bytes == 70 * MIB


def test_of_equal_segments_the_newest_is_taken():
    allocator = CachingAllocator()
    first, second = allocator.malloc(30 * MIB), allocator.malloc(30 * MIB)
    allocator.free(second)
    allocator.free(first)
    assert allocator.malloc(30 * MIB) is second


def test_of_equal_blocks_in_a_segment_the_first_is_taken():
    allocator = CachingAllocator()
    first, _, third, _ = [allocator.malloc(5 * MIB) for _ in range(4)]
    allocator.free(third)
    allocator.free(first)
    assert allocator.malloc(5 * MIB).address == first.address


def test_freed_neighbours_merge():
    allocator = CachingAllocator()
    blocks = [allocator.malloc(5 * MIB) for _ in range(4)]
    for place in (0, 2, 1, 3):
        allocator.free(blocks[place])
    assert allocator.allocated_bytes == 0
    assert [[block.size for block in parts] for _, parts in allocator.segments()] == [[20 * MIB]]


def test_small_requests_never_use_large_segments():
    allocator = CachingAllocator()
    allocator.free(allocator.malloc(20 * MIB))
    allocator.malloc(1000)
    assert allocator.reserved_bytes == 22 * MIB


def test_cached_segments_go_back_before_the_request_is_refused():
    allocator = CachingAllocator(capacity_bytes=100 * MIB)
    allocator.free(allocator.malloc(60 * MIB))
    allocator.malloc(70 * MIB)
    assert allocator.num_retries == 1
    assert allocator.reserved_bytes == 70 * MIB


def test_a_split_segment_does_not_go_back():
    allocator = CachingAllocator(capacity_bytes=100 * MIB)
    whole = allocator.malloc(60 * MIB)
    allocator.free(whole)
    allocator.malloc(15 * MIB)
    with pytest.raises(AllocationRefusedError) as refused:
        allocator.malloc(71 * MIB)
    assert refused.value.requested_bytes == 72 * MIB
    assert allocator.reserved_bytes == 60 * MIB


SIZES = st.one_of(
    st.integers(1, 4096),
    st.integers(MIB - 2048, MIB + 2048),
    st.integers(1, 40 * MIB),
)


STEPS = st.lists(st.tuples(st.booleans(), SIZES, st.integers(0, 50)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    make=st.sampled_from([CachingAllocator, ExpandableAllocator]),
    capacity=st.sampled_from([None, 64 * MIB]),
)
def test_the_books_balance_after_every_event(steps, make, capacity):
    allocator = make(capacity)
    live = []
    for is_free, nbytes, place in steps:
        if is_free and live:
            allocator.free(live.pop(place % len(live)))
        else:
            try:
                live.append(allocator.malloc(nbytes))
            except AllocationRefusedError:
                assert capacity is not None
            else:
                assert live[-1].size >= nbytes
        check_books(allocator, live)
    for block in live:
        allocator.free(block)
    allocator.release_cached()
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (0, 0)


def check_books(allocator, live):
    mapped, allocated = 0, []
    for size, blocks in allocator.segments():
        address = blocks[0].address
        for before, block in zip([None, *blocks], blocks, strict=False):
            assert block.previous is before
            assert block.address == address
            assert block.size > 0
            address += block.size
            if before is not None and not before.allocated and not block.allocated:
                assert before.mapped != block.mapped
        assert address - blocks[0].address == size
        mapped += sum(block.size for block in blocks if block.mapped)
        allocated += [block for block in blocks if block.allocated]
        listed = {id(entry[2]) for entry in blocks[0].pool.free}
        for block in blocks:
            assert (id(block) in listed) == (block.mapped and not block.allocated)
    assert {id(block) for block in allocated} == {id(block) for block in live}
    assert allocator.allocated_bytes == sum(block.size for block in live)
    assert allocator.reserved_bytes == mapped
    assert allocator.allocated_bytes <= allocator.reserved_bytes
    if allocator.capacity_bytes is not None:
        assert allocator.reserved_bytes <= allocator.capacity_bytes


def _pool() -> Pool:
    return Pool(is_small=False, min_remainder=1)


def _segment(pool: Pool, *sizes: int) -> list[Block]:
    """Neighbours of these sizes, none of them listed as free."""
    blocks = [Block(pool, 0, sum(sizes))]
    for size in sizes[:-1]:
        blocks.append(blocks[-1].cut(size))
    return blocks


def test_a_cut_block_keeps_its_neighbours() -> None:
    first, middle, last = _segment(_pool(), 10, 20, 30)
    assert [(block.address, block.size) for block in (first, middle, last)] == [
        (0, 10),
        (10, 20),
        (30, 30),
    ]
    assert (first.next, last.previous) == (middle, middle)
    middle.absorb_next()
    assert (middle.size, middle.next) == (50, None)


def test_the_best_fit_is_the_smallest_that_holds_it_and_the_lowest_of_equals() -> None:
    pool = _pool()
    blocks = _segment(pool, 30, 10, 20, 20)
    for block in blocks:
        pool.add(block)
    found = pool.free[pool.best_fit(15)][2]
    assert found is blocks[2]
    pool.remove(found)
    assert pool.free[pool.best_fit(15)][2] is blocks[3]
    assert pool.best_fit(31) == len(pool.free)


def test_a_freed_block_merges_with_free_mapped_neighbours_alone() -> None:
    pool = _pool()
    before, block, after, beyond = _segment(pool, 10, 20, 30, 40)
    before.allocated = True
    beyond.mapped = False
    pool.add(after)
    merged = pool.add_merged(block)
    assert (merged, merged.size, merged.next) == (block, 50, beyond)
    before.allocated = False
    pool.remove(merged)
    pool.add(before)
    assert pool.add_merged(merged) is before
    assert [entry[:2] for entry in pool.free] == [(60, 0)]


GIB = 1024 * MIB


def test_an_expandable_segment_grows_by_pages_of_20_mib():
    allocator = ExpandableAllocator()
    block = allocator.malloc(25 * MIB)
    assert (block.size, allocator.reserved_bytes) == (25 * MIB, 40 * MIB)
    allocator.malloc(20 * MIB)
    assert allocator.reserved_bytes == 60 * MIB
    allocator.malloc(100)
    assert allocator.reserved_bytes == 62 * MIB


def test_an_expandable_segment_extends_the_free_stretch_at_its_end():
    allocator = ExpandableAllocator()
    allocator.free(allocator.malloc(1 * GIB))
    allocator.malloc(1 * GIB + 20 * MIB)
    assert allocator.reserved_bytes == 1060 * MIB


def test_an_expandable_allocator_unmaps_free_pages_before_it_refuses():
    allocator = ExpandableAllocator(capacity_bytes=100 * MIB)
    low, high = allocator.malloc(50 * MIB), allocator.malloc(10 * MIB)
    allocator.free(low)
    allocator.malloc(55 * MIB)
    assert allocator.num_retries == 1
    with pytest.raises(AllocationRefusedError) as refused:
        allocator.malloc(75 * MIB)
    assert refused.value.requested_bytes == 76 * MIB
    allocator.free(high)
    assert allocator.allocated_bytes == 55 * MIB
