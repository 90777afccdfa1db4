import numpy as np
import pytest
import torch

from bevdiag.models.backbones_3d.dsvt_sets import PoolGrid, WindowGrid, ingroup_indices, partition
from tests.models.backbones_3d.windows import GRID, SET_SIZE, random_coords


def sets_by_loop(coords, grid, axes):
    """Each window's voxels in the order of `axes`, dealt as equation 3 of the paper says."""
    windows = {}
    for row, (b, z, y, x) in enumerate(coords.tolist()):
        moved = np.array([x, y, z]) + grid.effective_shift
        key = (b, *(moved // grid.window).tolist())
        inner = dict(zip("xyz", (moved % grid.window).tolist(), strict=True))
        windows.setdefault(key, []).append(([inner[a] for a in axes], row))
    sets = []
    for key in sorted(windows):
        rows = [row for _, row in sorted(windows[key])]
        number = -(-len(rows) // SET_SIZE)
        for s in range(number):
            slots = range(s * SET_SIZE, (s + 1) * SET_SIZE)
            sets.append([rows[slot * len(rows) // (number * SET_SIZE)] for slot in slots])
    return sets


@pytest.mark.parametrize("number", [1, 3, 150, 600])
def test_sets_are_those_of_a_loop(number):
    coords = random_coords(number=number)
    window, inner = GRID.place(torch.from_numpy(coords).long())
    result = partition(window, inner, GRID, SET_SIZE, None)

    by_y, by_x = sets_by_loop(coords, GRID, "yxz"), sets_by_loop(coords, GRID, "xyz")
    assert result.voxels.tolist() == [by_y, by_x]
    assert set(result.voxels[0].ravel().tolist()) == set(range(number))
    for sets, masks in zip(result.voxels.tolist(), result.repeated.tolist(), strict=True):
        for slots, mask in zip(sets, masks, strict=True):
            assert mask == [i > 0 and slots[i] == slots[i - 1] for i in range(SET_SIZE)]


@pytest.mark.parametrize("number", [1, 150])
def test_without_values_the_shapes_are_the_same(number):
    coords = random_coords(number=number)
    window, inner = GRID.place(torch.from_numpy(coords).long())
    real = partition(window, inner, GRID, SET_SIZE, None)
    meta = partition(window.to("meta"), inner.to("meta"), GRID, SET_SIZE, GRID.occupancy(coords))
    assert meta.voxels.is_meta
    assert meta.voxels.shape == real.voxels.shape
    assert meta.repeated.shape == real.repeated.shape


def test_ingroup_indices_number_each_group():
    groups = torch.tensor([2, 0, 2, 1, 0, 2])
    assert ingroup_indices(groups).tolist() == [0, 0, 1, 0, 1, 2]


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
