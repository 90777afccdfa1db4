"""The bytes of the pair tables, written out from spconv's own allocations."""

import numpy as np
import pytest
import torch

from bevdiag.memory.events import Category
from bevdiag.sparse.coordinates import Geometry
from bevdiag.sparse.rulebook import Grid, MaskTables, NativeTables, build_rulebook
from bevdiag.sparse.tensor import ConvAlgo, SortScratch

from .allocations import Allocations

SHAPE = [21, 40, 36]
MASK = ConvAlgo.MaskImplicitGemm


def _geometry(kernel: int = 3, stride: int = 2, **changes: bool) -> Geometry:
    return Geometry((kernel,) * 3, (stride,) * 3, (1,) * 3, (1,) * 3, (0,) * 3, **changes)


def _grid(num: int = 700, shape: list[int] = SHAPE, batch_size: int = 2) -> Grid:
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, size, 2 * num) for size in (batch_size, *shape)]
    cells = np.unique(np.stack(columns, axis=1), axis=0)[:num].astype(np.int32)
    return Grid(torch.from_numpy(cells), shape, batch_size, torch.device("meta"))


@pytest.mark.parametrize("training", [True, False])
def test_submanifold_tables(training: bool) -> None:
    grid, kv = _grid(), 27
    n = grid.num_voxels

    with Allocations().ignore(grid.indices) as seen:
        rulebook, num_pairs = build_rulebook(grid, _geometry(subm=True), MASK, training=training)

        halves = 2 if training else 1
        pair, count, slots, mask, order, sort = (
            4 * halves * kv * n,
            4 * kv,
            16 * n,
            4 * n,
            4 * n,
            8 * n,
        )
        assert [nbytes for nbytes, _ in seen.made] == [pair, count, slots, mask, order, sort]
        assert seen.alive == pair + count + mask + order
        assert seen.peak == sum(nbytes for nbytes, _ in seen.made)
        del num_pairs
        assert seen.alive == pair + mask + order
    assert rulebook.out_indices is grid.indices
    assert isinstance(rulebook.tables, MaskTables)
    assert (rulebook.tables.pair_bwd is not None) is training


@pytest.mark.parametrize("training", [True, False])
def test_strided_tables_are_the_same_in_training_and_eval(training: bool) -> None:
    grid, kv = _grid(), 27
    n = grid.num_voxels

    with Allocations().ignore(grid.indices) as seen:
        rulebook, num_pairs = build_rulebook(grid, _geometry(), MASK, training=training)

        m = len(rulebook.out_indices)
        unique = 4 * (kv * n + 1)
        slots = 8 * int(8 * n * 1.1)
        assert [nbytes for nbytes, _ in seen.made] == [
            *(4 * kv * n, 4 * kv, unique, slots, unique, 4),
            *(16 * m, 4 * kv * m, 4 * m, 4 * n, 4 * m, 4 * n, 8 * max(n, m)),
        ]
        assert seen.alive == 4 * kv + (116 * n + 132 * m)
        assert num_pairs is not None
    assert seen.of(Category.WORKSPACE) == [8 * max(n, m)]
    assert len(seen.of(Category.RULEBOOK)) == len(seen.made) - 1


def test_cells_beyond_32_bits_take_wider_keys() -> None:
    # The input's grid decides: 2 x 1024 x 1024 x 1024 cells.
    grid = _grid(shape=[1024, 1024, 1024])
    n, kv = grid.num_voxels, 27

    with Allocations().ignore(grid.indices) as seen:
        build_rulebook(grid, _geometry(), MASK, training=True)
    made = [nbytes for nbytes, _ in seen.made]
    assert made[2:6] == [
        8 * (kv * n + 1),
        8 * int(8 * n * 1.1),
        4 * int(8 * n * 1.1),
        8 * (kv * n + 1),
    ]

    with Allocations().ignore(grid.indices) as seen:
        build_rulebook(grid, _geometry(subm=True), MASK, training=True)
    assert [nbytes for nbytes, _ in seen.made][2:4] == [16 * n, 8 * n]


def test_the_widest_grid_of_32_bit_keys() -> None:
    edge = _grid(shape=[2, 32768, 32767], batch_size=1)
    narrow = Allocations().ignore(edge.indices)
    with narrow:
        build_rulebook(edge, _geometry(subm=True), MASK, training=True)
    assert narrow.made[2][0] == 16 * edge.num_voxels


def test_native_tables_look_at_the_output_grid() -> None:
    grid, kv = _grid(shape=[1024, 1024, 1024]), 27
    n = grid.num_voxels

    with Allocations().ignore(grid.indices) as seen:
        rulebook, _ = build_rulebook(grid, _geometry(), ConvAlgo.Native, training=True)

        m = len(rulebook.out_indices)
        unique = 4 * (kv * n + 1)
        assert [nbytes for nbytes, _ in seen.made] == [
            *(8 * kv * n, 4 * kv, unique, unique, unique, 16 * m, 16 * m)
        ]
        assert seen.alive == 8 * kv * n + 4 * kv + 16 * m
        # The sort's copy of the keys is gone before the hash table comes.
        assert seen.peak == 8 * kv * n + 4 * kv + max(3 * unique, 2 * unique + 32 * m)
    assert isinstance(rulebook.tables, NativeTables)


def test_native_submanifold_tables() -> None:
    grid = _grid()
    n, kv = grid.num_voxels, 125

    with Allocations().ignore(grid.indices) as seen:
        rulebook, _ = build_rulebook(grid, _geometry(5, subm=True), ConvAlgo.Native, training=True)
        assert [nbytes for nbytes, _ in seen.made] == [8 * kv * n, 4 * kv, 16 * n]
        assert seen.alive == 8 * kv * n + 4 * kv
    assert rulebook.out_indices is grid.indices


def test_a_transposed_layer_sizes_its_hash_by_the_kernel() -> None:
    grid = _grid()

    with Allocations().ignore(grid.indices) as seen:
        build_rulebook(grid, _geometry(transposed=True), MASK, training=True)

    assert seen.made[3][0] == 8 * int(27 * grid.num_voxels * 1.1)


def test_a_permanent_sort_scratch_is_made_once() -> None:
    grid, scratch = _grid(), SortScratch(torch.device("meta"))

    with Allocations().ignore(grid.indices) as seen:
        for _ in range(2):
            build_rulebook(grid, _geometry(subm=True), MASK, training=True, scratch=scratch)
        assert seen.of(Category.WORKSPACE) == [8 * grid.num_voxels]


def test_split_masks_double_the_orders() -> None:
    grid = _grid()
    n = grid.num_voxels

    with Allocations().ignore(grid.indices) as seen:
        algo = ConvAlgo.MaskSplitImplicitGemm
        build_rulebook(grid, _geometry(subm=True), algo, training=True)

    assert [nbytes for nbytes, _ in seen.made][3:5] == [8 * n, 8 * n]


def test_layers_that_reach_nothing_are_refused() -> None:
    grid = Grid(torch.tensor([[0, 7, 3, 3]], dtype=torch.int32), [8, 8, 8], 1, torch.device("meta"))
    geometry = Geometry((3,) * 3, (2,) * 3, (0,) * 3, (1,) * 3, (0,) * 3)

    with pytest.raises(ValueError, match="none of the 1 voxels reaches an output cell"):
        build_rulebook(grid, geometry, MASK, training=True)
