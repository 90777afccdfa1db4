"""DSVT's sets and attention against plain loops."""

import numpy as np
import pytest
import torch

from bevdiag.models.backbones_3d.dsvt import AttentionReduction, SetAttention
from bevdiag.models.backbones_3d.dsvt_sets import PoolGrid, WindowGrid, ingroup_indices, partition

SET_SIZE = 4
GRID = WindowGrid((24, 16, 8), (8, 8, 4), (4, 4, 2))


def random_coords(seed=0, number=150):
    rng = np.random.default_rng(seed)
    cells = rng.choice(2 * 8 * 16 * 24, number, replace=False)
    return np.stack(np.unravel_index(cells, (2, 8, 16, 24)), axis=1).astype(np.int32)


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


def test_ingroup_indices_number_each_group():
    groups = torch.tensor([2, 0, 2, 1, 0, 2])
    assert ingroup_indices(groups).tolist() == [0, 0, 1, 0, 1, 2]


def test_set_attention_is_that_of_a_loop():
    torch.manual_seed(0)
    channels, heads, number = 16, 4, 40
    module = SetAttention(channels, heads, 0.0, 32, "gelu")
    coords = random_coords(number=number)
    window, inner = GRID.place(torch.from_numpy(coords).long())
    sets = partition(window, inner, GRID, SET_SIZE, None)
    src, position = torch.randn(number, channels), torch.randn(number, channels)

    expected = torch.empty(number, channels)
    weights = module.self_attn.in_proj_weight.chunk(3)
    biases = module.self_attn.in_proj_bias.chunk(3)
    for slots, masked in zip(sets.voxels[0].tolist(), sets.repeated[0].tolist(), strict=True):
        rows = [slot for slot, is_masked in zip(slots, masked, strict=True) if not is_masked]
        inputs = (src[rows] + position[rows], src[rows] + position[rows], src[rows])
        query, key, value = (
            (i @ w.T + b).view(len(rows), heads, -1).transpose(0, 1)
            for i, w, b in zip(inputs, weights, biases, strict=True)
        )
        maps = (query @ key.transpose(1, 2) / (channels / heads) ** 0.5).softmax(-1)
        merged = (maps @ value).transpose(0, 1).reshape(len(rows), channels)
        expected[rows] = module.self_attn.out_proj(merged)
    hidden = module.norm1(src + expected)
    expected = module.norm2(hidden + module.linear2(module.activation(module.linear1(hidden))))

    result = module(src, position, sets.repeated[0], sets.voxels[0])
    assert torch.allclose(result, expected, atol=1e-5)


def test_attention_reduction_attends_to_every_place():
    torch.manual_seed(0)
    module = AttentionReduction(16, 4)
    pooled = torch.randn(5, 16, 4)
    places = pooled.permute(0, 2, 1)
    strongest = places.max(1, keepdim=True).values
    attended, _ = module.self_attn(strongest, places + module.pos_embedding, places)
    assert torch.allclose(module(pooled), module.norm(attended + strongest)[:, 0], atol=1e-6)
