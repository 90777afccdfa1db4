import torch

from bevdiag.models.backbones_3d.dsvt_windows import PoolGrid, WindowGrid
from tests.models.backbones_3d.windows import GRID, random_coords


def test_occupancy_counts_the_windows():
    coords = random_coords()
    window, _ = GRID.place(torch.from_numpy(coords).long())
    assert GRID.occupancy(coords).tolist() == torch.unique(window, return_counts=True)[1].tolist()


def test_a_window_as_high_as_the_stage_is_not_shifted_in_z():
    assert WindowGrid((24, 16, 8), (8, 8, 8), (4, 4, 2)).effective_shift == (4, 4, 0)


def test_pooled_coordinates_are_the_distinct_ones_in_order():
    coords, grid = random_coords(), PoolGrid((24, 16, 8), (2, 1, 4))
    pool, position, next_coords = grid.place(torch.from_numpy(coords).long())
    unique, inverse = torch.unique(pool, return_inverse=True)
    expected = torch.empty(len(unique), 4, dtype=torch.long)
    expected[inverse] = next_coords
    assert grid.pooled(coords).tolist() == expected.tolist()
    assert len(set(zip(pool.tolist(), position.tolist(), strict=True))) == len(coords)
    assert int(position.max()) < grid.volume
