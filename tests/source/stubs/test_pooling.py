import pytest
import torch

from bevdiag.source.stubs.ops import OPS

STACK = OPS["pointnet2_stack_cuda"]
CELLS = (2, 2, 1)


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
