from bevdiag.memory.blocks import Block, Pool


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
