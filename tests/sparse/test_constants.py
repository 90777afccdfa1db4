import numpy as np
import pytest
import torch

from bevdiag.memory.events import Category
from bevdiag.sparse import constants
from bevdiag.sparse.coordinates import Geometry
from bevdiag.sparse.rulebook import Grid, build_rulebook
from bevdiag.sparse.tensor import ConvAlgo

from .allocations import Allocations

KV, N = 27, 300


@pytest.fixture
def grid() -> Grid:
    cells = np.stack([np.zeros(N), *np.unravel_index(np.arange(N), (10, 10, 10))], axis=1)
    indices = torch.from_numpy(cells.astype(np.int32))
    return Grid(indices, [10, 10, 10], 1, torch.device("meta"))


def test_without_the_direct_table_outputs_are_found_by_sorting(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "SPCONV_USE_DIRECT_TABLE", False)
    geometry = Geometry((3,) * 3, (2,) * 3, (1,) * 3, (1,) * 3, (0,) * 3)
    with Allocations().ignore(grid.indices) as seen:
        rulebook, _ = build_rulebook(grid, geometry, ConvAlgo.MaskImplicitGemm, training=True)
    m, keys = len(rulebook.out_indices), 4 * (KV * N + 1)
    assert [nbytes for nbytes, _ in seen.made] == [
        *(4 * KV * N, 4 * KV),  # backward pairs, pairs an offset
        *(keys, keys, keys, keys),  # keys, sorted keys, the sort's buffer, unique keys
        *(16 * m, 4 * KV * m, 4 * m, 4 * N),  # outputs, forward pairs, masks
        *(16 * m,),  # a hash table for the outputs alone
        *(4 * m, 4 * N),  # orders
        8 * max(m, N),  # their sort
    ]
    assert seen.of(Category.WORKSPACE)[:2] == [keys, keys]


def test_both_ways_leave_the_same_tables(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = Geometry((3,) * 3, (2,) * 3, (1,) * 3, (1,) * 3, (0,) * 3)
    alive = []
    for by_hash in (True, False):
        monkeypatch.setattr(constants, "SPCONV_USE_DIRECT_TABLE", by_hash)
        with Allocations().ignore(grid.indices) as seen:
            made = build_rulebook(grid, geometry, ConvAlgo.MaskImplicitGemm, training=True)
            alive.append(seen.alive)
        del made
    assert alive[0] == alive[1]
