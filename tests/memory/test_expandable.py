import pytest

from bevdiag.memory.allocator import (
    MIB,
    AllocationRefusedError,
)
from bevdiag.memory.expandable import ExpandableAllocator

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
