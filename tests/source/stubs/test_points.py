"""Against loops over points, written as the operators' definitions read."""

from typing import Any

import numpy as np
import pytest
import torch

from bevdiag.source.stubs.compiled_ops import OPS

BATCH, STACK = OPS["pointnet2_batch_cuda"], OPS["pointnet2_stack_cuda"]
CELLS = (2, 2, 1)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _farthest(points: torch.Tensor, count: int) -> list[int]:
    picked = [0]
    while len(picked) < count:
        distance = ((points[:, None] - points[picked]) ** 2).sum(-1).amin(1)
        picked.append(int(distance.argmax()))
    return picked


@pytest.mark.parametrize(
    "name", ["farthest_point_sampling_wrapper", "furthest_point_sampling_wrapper"]
)
def test_farthest_points_of_a_batch(random: torch.Generator, name: str) -> None:
    points = torch.rand(2, 50, 3, generator=random)
    out = torch.empty(2, 9, dtype=torch.int32)
    assert BATCH[name](2, 50, 9, points, torch.full((2, 50), 1e10), out) == 1
    assert out.tolist() == [_farthest(points[0], 9), _farthest(points[1], 9)]


def test_farthest_points_of_a_stack(random: torch.Generator) -> None:
    points = torch.rand(50, 3, generator=random)
    sizes, counts = torch.tensor([20, 30]).int(), torch.tensor([4, 7]).int()
    out = torch.empty(11, dtype=torch.int32)
    STACK["stack_farthest_point_sampling_wrapper"](points, torch.empty(50), sizes, out, counts)
    assert out.tolist() == _farthest(points[:20], 4) + _farthest(points[20:], 7)


def test_farthest_points_by_their_distances(random: torch.Generator) -> None:
    points = torch.rand(1, 30, 3, generator=random)
    out = torch.empty(1, 8, dtype=torch.int32)
    squares = ((points[:, :, None] - points[:, None]) ** 2).sum(-1)
    BATCH["furthest_point_sampling_with_dist_wrapper"](1, 30, 8, squares, torch.empty(1, 30), out)
    assert out[0].tolist() == _farthest(points[0], 8)


def test_more_farthest_points_than_points_repeat_the_first() -> None:
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    out = torch.empty(1, 4, dtype=torch.int32)
    BATCH["farthest_point_sampling_wrapper"](1, 2, 4, points, None, out)
    assert out.tolist() == [[0, 1, 0, 0]]


def test_a_batch_is_gathered_and_grouped(random: torch.Generator) -> None:
    features = torch.rand(2, 4, 10, generator=random)
    rows = torch.randint(10, (2, 6, 3), generator=random, dtype=torch.int32)
    gathered, grouped = torch.empty(2, 4, 6), torch.empty(2, 4, 6, 3)

    BATCH["gather_points_wrapper"](2, 4, 10, 6, features, rows[..., 0].contiguous(), gathered)
    BATCH["group_points_wrapper"](2, 4, 10, 6, 3, features, rows, grouped)

    expected = torch.stack([features[b][:, rows[b].long()] for b in range(2)])
    assert torch.equal(grouped, expected)
    assert torch.equal(gathered, expected[..., 0])


def test_a_stack_is_grouped_by_rows_of_its_sample(random: torch.Generator) -> None:
    features = torch.rand(10, 4, generator=random)
    rows = torch.randint(4, (5, 3), generator=random, dtype=torch.int32)
    out = torch.empty(5, 4, 3)
    sizes, wanted = torch.tensor([4, 6]).int(), torch.tensor([2, 3]).int()

    STACK["group_points_wrapper"](2, 5, 4, 3, features, sizes, rows, wanted, out)

    for row in range(5):
        start = 0 if row < 2 else 4
        assert torch.equal(out[row], features[start + rows[row].long()].T)


def test_interpolation_weighs_three_rows(random: torch.Generator) -> None:
    features = torch.rand(1, 4, 10, generator=random)
    rows = torch.randint(10, (1, 6, 3), generator=random, dtype=torch.int32)
    weights = torch.rand(1, 6, 3, generator=random)
    out, stacked = torch.empty(1, 4, 6), torch.empty(6, 4)

    BATCH["three_interpolate_wrapper"](1, 4, 10, 6, features, rows, weights, out)
    STACK["three_interpolate_wrapper"](features[0].T.contiguous(), rows[0], weights[0], stacked)

    expected = sum(features[0, :, rows[0, :, k].long()] * weights[0, :, k] for k in range(3))
    torch.testing.assert_close(out[0], expected)
    torch.testing.assert_close(stacked, torch.as_tensor(expected).T)


def _nearest(unknown: Any, known: Any) -> tuple[list[Any], list[Any]]:
    squares, rows = [], []
    for point in unknown:
        distance = ((point - known) ** 2).sum(-1)
        order = np.argsort(distance, kind="stable")[:3]
        squares.append(distance[order].tolist())
        rows.append(order.tolist())
    return squares, rows


def test_three_nearest(random: torch.Generator) -> None:
    unknown, known = (torch.rand(n, 3, generator=random) for n in (7, 9))
    squares, rows = torch.empty(1, 7, 3), torch.empty(1, 7, 3, dtype=torch.int32)
    BATCH["three_nn_wrapper"](1, 7, 9, unknown[None], known[None], squares, rows)
    expected = _nearest(unknown.numpy(), known.numpy())
    torch.testing.assert_close(squares[0], torch.tensor(expected[0]))
    assert rows[0].tolist() == expected[1]


def test_three_nearest_of_a_stack_are_rows_of_all_points(random: torch.Generator) -> None:
    unknown, known = (torch.rand(n, 3, generator=random) for n in (7, 9))
    squares, rows = torch.empty(7, 3), torch.empty(7, 3, dtype=torch.int32)
    sizes = torch.tensor([3, 4]).int(), torch.tensor([7, 2]).int()
    STACK["three_nn_wrapper"](unknown, sizes[0], known, sizes[1], squares, rows)
    assert rows[:3].tolist() == _nearest(unknown[:3].numpy(), known[:7].numpy())[1]
    # The second sample knows two points: the third place stays on its first one, infinitely far.
    second = np.array(_nearest(unknown[3:].numpy(), known[7:].numpy())[1]) + 7
    assert rows[3:, :2].tolist() == second.tolist()
    assert rows[3:, 2].tolist() == [7] * 4
    assert torch.isinf(squares[3:, 2]).all()


def test_what_is_not_a_number_is_no_distance() -> None:
    points = torch.tensor([[[0.0, 0, 0], [float("nan"), 0, 0], [3, 0, 0], [1, 0, 0]]])
    out = torch.empty(1, 3, dtype=torch.int32)
    # It stays as far away as everything was at first, and no one is near to it.
    BATCH["farthest_point_sampling_wrapper"](1, 4, 3, points, None, out)
    assert out.tolist() == [[0, 1, 1]]
    squares, rows = torch.empty(1, 1, 3), torch.empty(1, 1, 3, dtype=torch.int32)
    BATCH["three_nn_wrapper"](1, 1, 4, points[:, :1], points, squares, rows)
    assert rows.tolist() == [[[0, 3, 2]]]


def _pool(nsample: int, kind: int, method: int, most: int) -> tuple[int, list[torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    xyz, centres = torch.rand(2, 30, 3, generator=random).unbind()
    centres = centres[:8]
    features = torch.rand(30, 4, generator=random)
    outputs = [
        torch.zeros(8, 4 * 2),
        torch.zeros(8, 4 * 3),
        torch.zeros(8, 4).int(),
        torch.zeros(most, 3).int(),
    ]
    counts = torch.tensor([20, 10]).int(), torch.tensor([5, 3]).int()
    total = STACK["vector_pool_wrapper"](
        xyz, counts[0], features, centres, counts[1], *outputs, *CELLS, 0.4, 1, most, nsample, kind,
        method,
    )  # fmt: skip
    return total, [xyz, centres, features, *outputs]


@pytest.mark.parametrize("method", [0, 1])
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("nsample", [-1, 2])
def test_points_around_a_centre_are_pooled_by_cell(nsample: int, kind: int, method: int) -> None:
    total, (xyz, centres, features, pooled, local_xyz, counts, grouped) = _pool(
        nsample, kind, method, 200
    )
    sums, moves = torch.zeros(8, 4, 2), torch.zeros(8, 4, 3)
    numbers = torch.zeros(8, 4).int()
    triples = set()
    for row in range(8):
        taken = 0
        for k in range(20) if row < 5 else range(20, 30):
            local = xyz[k] - centres[row]
            near = (local**2).sum() <= 0.16 if kind == 1 else (local.abs() <= 0.4).all()
            if not near or (nsample > 0 and taken == nsample):
                continue
            x, y, z = ((local + 0.4) / torch.tensor([0.4, 0.4, 0.8])).floor().int().tolist()
            cell = min((x * 2 + y) + z, 3)
            if method == 1 and numbers[row, cell]:
                continue
            taken += 1
            numbers[row, cell] += 1
            sums[row, cell] += features[k, :2] + features[k, 2:] if method == 0 else features[k, 2:]
            moves[row, cell] += local
            triples.add((k, row, cell))
    torch.testing.assert_close(pooled, sums.flatten(1))
    torch.testing.assert_close(local_xyz, moves.flatten(1))
    assert torch.equal(counts, numbers)
    assert total == len(triples) == int(numbers.sum()) > 8
    assert set(map(tuple, grouped[:total].tolist())) == triples


def test_a_table_too_small_still_tells_how_many_pairs_there_are() -> None:
    assert _pool(-1, 1, 0, 3)[0] == _pool(-1, 1, 0, 200)[0] > 3


def test_a_map_sums_the_points_of_each_cell() -> None:
    features = torch.rand(6, 3)
    cells = torch.tensor([[0, 1, 0, 0]] * 2 + [[3, 4, 0, 0]] + [[3, 4, 0, 1]] * 3).int()
    starts, lengths = torch.tensor([0, 2, 3]).int(), torch.tensor([2, 1, 3]).int()
    pooled = OPS["bev_pool_ext"]["bev_pool_forward"](features, cells, lengths, starts, 2, 1, 5, 6)
    expected = torch.zeros(2, 1, 5, 6, 3)
    for point, (y, x, z, sample) in zip(features, cells.tolist(), strict=True):
        expected[sample, z, y, x] += point
    torch.testing.assert_close(pooled, expected)


def test_a_map_without_values_has_its_size() -> None:
    features, cells = torch.empty(7, 4, device="meta"), torch.zeros(7, 4)
    pooled = OPS["bev_pool_ext"]["bev_pool_forward"](features, cells, None, None, 2, 1, 5, 6)
    assert pooled.shape == (2, 1, 5, 6, 4)
    back = OPS["bev_pool_ext"]["bev_pool_backward"](pooled, cells, None, None, 2, 1, 5, 6)
    assert back.shape == (7, 4)
