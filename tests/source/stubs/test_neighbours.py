"""Against loops over centres and points, written as the queries' definitions read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs import compiled, neighbours
from bevdiag.source.stubs.compiled_ops import OPS
from bevdiag.source.stubs.neighbours import most_near
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder

BATCH, STACK = OPS["pointnet2_batch_cuda"], OPS["pointnet2_stack_cuda"]
ROOM = 7


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _cloud(random: torch.Generator, count: int) -> torch.Tensor:
    return torch.rand(count, 3, generator=random) * torch.tensor([8.0, 6.0, 2.0]) - 3


def _hits(
    centre: torch.Tensor, points: torch.Tensor, near: Callable[[torch.Tensor], torch.Tensor]
) -> list[int]:
    square = ((centre - points) ** 2).sum(-1)
    return [int(k) for k in near(square).nonzero()[:, 0]]


def _row(hits: list[int], nsample: int, empty: list[int]) -> list[int]:
    return (hits + hits[:1] * nsample)[:nsample] if hits else empty


@pytest.mark.parametrize("radius", [0.05, 0.9, 20.0])
def test_the_first_points_in_a_ball(random: torch.Generator, radius: float) -> None:
    points, centres = _cloud(random, 200), _cloud(random, 40)
    centres[0] = 100
    out = torch.full((1, 40, 5), 7, dtype=torch.int32)

    BATCH["ball_query_wrapper"](1, 200, 40, radius, 5, centres[None], points[None], out)

    for centre, row in zip(centres, out[0].tolist(), strict=True):
        hits = _hits(centre, points, lambda square: square < radius**2)
        assert row == _row(hits, 5, [7] * 5)


def test_queries_in_pieces_are_queries(
    random: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, centres = _cloud(random, 200)[None], _cloud(random, 40)[None]
    whole, pieces = torch.zeros(2, 1, 40, 5, dtype=torch.int32)
    BATCH["ball_query_wrapper"](1, 200, 40, 2.0, 5, centres, points, whole)
    monkeypatch.setattr(neighbours, "_MOST_CANDIDATES", 100)
    monkeypatch.setattr(compiled, "_answers", {})
    BATCH["ball_query_wrapper"](1, 200, 40, 2.0, 5, centres, points, pieces)
    assert whole.any()
    assert torch.equal(whole, pieces)


def test_a_dilated_ball_is_hollow_but_for_its_centre(random: torch.Generator) -> None:
    points = _cloud(random, 200)
    out = torch.zeros(1, 200, 6, dtype=torch.int32)
    BATCH["ball_query_dilated_wrapper"](1, 200, 200, 2.0, 1.0, 6, points[None], points[None], out)
    for centre, row in zip(points, out[0].tolist(), strict=True):
        hits = _hits(centre, points, lambda s: (s == 0) | ((s >= 1) & (s < 4)))
        assert row == _row(hits, 6, [0] * 6)


def test_the_balls_of_a_stack_hold_points_of_their_sample(random: torch.Generator) -> None:
    points, centres = _cloud(random, 60), _cloud(random, 10)
    centres[4] = 100
    out = torch.zeros(10, 4, dtype=torch.int32)
    sizes, wanted = torch.tensor([40, 20]).int(), torch.tensor([3, 7]).int()

    STACK["ball_query_wrapper"](2, 10, 1.5, 4, centres, wanted, points, sizes, out)

    for row in range(10):
        own = points[:40] if row < 3 else points[40:]
        hits = _hits(centres[row], own, lambda square: square < 2.25)
        assert out[row].tolist() == _row(hits, 4, [-1, 0, 0, 0])
    assert out[4, 0] == -1


def test_places_that_no_hit_is_left_for_stay_as_they_were(random: torch.Generator) -> None:
    points, centres = _cloud(random, 60), _cloud(random, 10)
    centres[4] = 100
    out = torch.full((10, 40), -1, dtype=torch.int32)
    sizes, wanted = torch.tensor([40, 20]).int(), torch.tensor([3, 7]).int()

    STACK["ball_query_count_wrapper"](2, 10, 1.5, 40, centres, wanted, points, sizes, out)

    for row in range(10):
        own = points[:40] if row < 3 else points[40:]
        hits = _hits(centres[row], own, lambda square: square < 2.25)
        assert out[row].tolist() == hits + [-1] * (40 - len(hits))
    assert (out[:, 1] >= 0).any()


def test_a_voxel_query_looks_through_the_window_in_order(random: torch.Generator) -> None:
    shape = (3, 8, 8)
    table = torch.full((2, *shape), -1, dtype=torch.int32)
    filled = torch.rand((2, *shape), generator=random) < 0.3
    cells = filled.nonzero()
    table[filled] = torch.arange(len(cells), dtype=torch.int32)
    points = cells[:, [3, 2, 1]] + torch.rand(len(cells), 3, generator=random)
    out = torch.zeros(len(cells), 4, dtype=torch.int32)

    STACK["voxel_query_wrapper"](
        len(cells), *shape, 4, 1.2, 1, 2, 1, points + 0.3, points, cells.int(), table, out
    )

    empty = 0
    for cell, centre, row in zip(cells.tolist(), points + 0.3, out.tolist(), strict=True):
        hits = []
        for z in range(cell[1] - 1, cell[1] + 2):
            for y in range(cell[2] - 2, cell[2] + 3):
                for x in range(cell[3] - 1, cell[3] + 2):
                    if 0 <= z < 3 and 0 <= y < 8 and 0 <= x < 8:
                        found = int(table[cell[0], z, y, x])
                        if found >= 0 and ((points[found] - centre) ** 2).sum() <= 1.2**2:
                            hits.append(found)
        empty += not hits
        assert row == _row(hits, 4, [-1, 0, 0, 0])
    assert empty < len(cells) / 2


@pytest.mark.parametrize(("nsample", "kind"), [(-1, 1), (3, 1), (-1, 0)])
def test_the_three_nearest_among_a_centres_neighbours(
    random: torch.Generator, nsample: int, kind: int
) -> None:
    points, centres = _cloud(random, 60), _cloud(random, 10)
    centres[4] = 100
    sizes, wanted = torch.tensor([40, 20]).int(), torch.tensor([3, 7]).int()
    found, start_len = torch.zeros(200).int(), torch.zeros(10, 2).int()
    total = torch.zeros(1).int()
    grids = centres[:, None] + torch.tensor([[0.3, 0, 0], [-0.3, 0, 0]])
    squares, rows = torch.zeros(10, 2, 3), torch.full((10, 2, 3), -5).int()

    STACK["query_stacked_local_neighbor_idxs_wrapper_stack"](
        points, sizes, centres, wanted, found, start_len, total, 20, 1.2, nsample, kind
    )
    STACK["query_three_nn_by_stacked_local_idxs_wrapper_stack"](
        points, centres, grids, rows, squares, found[: int(total)], start_len, 10, 2
    )

    near_any = 0
    for row in range(10):
        first, last = (0, 40) if row < 3 else (40, 60)
        local = points[first:last] - centres[row]
        near = (local**2).sum(-1) <= 1.44 if kind == 1 else (local.abs() <= 1.2).all(-1)
        hits = (near.nonzero()[:, 0] + first).tolist()
        hits = hits[:nsample] if nsample > 0 else hits
        near_any += len(hits)
        start, length = start_len[row].tolist()
        assert found[start : start + length].tolist() == hits
        for grid in range(2):
            square = ((grids[row, grid] - points[hits]) ** 2).sum(-1)
            nearest = [hits[k] for k in square.argsort(stable=True)[:3]]
            expected = (nearest + nearest[:1] * 3)[:3] if nearest else [-1] * 3
            assert rows[row, grid].tolist() == expected
    assert int(total) == near_any > 10


def test_a_list_too_short_still_tells_how_long_it_should_be(random: torch.Generator) -> None:
    points = _cloud(random, 60)
    sizes, found = torch.tensor([60]).int(), torch.zeros(5).int()
    total, start_len = torch.zeros(1).int(), torch.zeros(60, 2).int()
    STACK["query_stacked_local_neighbor_idxs_wrapper_stack"](
        points, sizes, points, sizes, found, start_len, total, 1, 1.0, -1, 1
    )
    assert int(total) == (torch.cdist(points, points) <= 1).sum() > 60


def test_what_is_not_a_number_is_near_nothing(random: torch.Generator) -> None:
    points = _cloud(random, 50)
    points[3], points[4, 0] = float("nan"), float("inf")
    out = torch.full((1, 50, 2), -7, dtype=torch.int32)
    BATCH["ball_query_wrapper"](1, 50, 50, 0.5, 2, points[None], points[None], out)
    assert out[0, 3:5].tolist() == [[-7, -7]] * 2
    others = [row for row in range(50) if row not in (3, 4)]
    assert (out[0, others] >= 0).all()
    assert not torch.isin(out, torch.tensor([3, 4])).any()


def _begin(scenario: Scenario = Scenario.EXPECTED) -> AssumedValues:
    assumed = AssumedValues(scenario, {})
    begin(SimulatedGpu(new_recorder(Attribution(nn.Module())), assumed))
    return assumed


def _points() -> torch.Tensor:
    """Four near each other, two elsewhere."""
    near = [[0.1, 0.1, 0.1], [0.2, 0.1, 0.1], [0.3, 0.1, 0.2], [0.9, 0.2, 0.1]]
    return torch.tensor([*near, [9.0, 9.0, 9.0], [5.0, 0.0, 0.0]])


def _pooled(centres: int, nsample: int) -> int:
    meta = torch.empty(centres, 3, device="meta")
    counts = torch.tensor([6]).int(), torch.tensor([centres]).int()
    args: tuple[Any, ...] = (_points(), counts[0], meta, meta, counts[1], meta, meta, meta, meta)
    found: int = STACK["vector_pool_wrapper"](*args, 2, 2, 1, 0.4, 1, ROOM, nsample, 1, 0)
    return found


@pytest.mark.parametrize(
    ("scenario", "used"), [(Scenario.LOW, 0), (Scenario.EXPECTED, ROOM), (Scenario.HIGH, 20)]
)
def test_pairs_of_unknown_centres_are_bounded_by_the_points(scenario: Scenario, used: int) -> None:
    values = _begin(scenario)
    assert _pooled(5, -1) == used
    (assumption,) = values.assumptions.values()
    assert assumption.site.endswith(":pairs")
    assert (assumption.low, assumption.expected, assumption.high) == (0, ROOM, 5 * 4)


def test_a_limit_for_each_centre_bounds_them_too() -> None:
    values = _begin()
    assert _pooled(5, 1) == 5
    (assumption,) = values.assumptions.values()
    assert assumption.high == 5


@pytest.mark.parametrize(
    ("scenario", "has_points", "used"),
    [
        (Scenario.EXPECTED, True, ROOM),
        (Scenario.HIGH, True, 3 * 4),
        (Scenario.HIGH, False, 3 * 6),
    ],
)
def test_stacked_neighbours_are_counted_alike(
    scenario: Scenario, has_points: bool, used: int
) -> None:
    values = _begin(scenario)
    total = torch.zeros(1).int()
    meta = torch.empty(3, 3, device="meta")
    points = _points() if has_points else torch.empty(6, 3, device="meta")
    STACK["query_stacked_local_neighbor_idxs_wrapper_stack"](
        points, torch.tensor([6]).int(), meta, torch.tensor([3]).int(), torch.zeros(ROOM).int(),
        torch.zeros(3, 2).int(), total, 2, 0.4, -1, 1,
    )  # fmt: skip
    assert int(total) == used
    assert len(values.assumptions) == 1


def test_no_cube_holds_more_points_than_the_bound() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(300, 3)).astype(np.float32)
    for reach in (0.1, 0.5, 3.0):
        bound = most_near(points, reach)
        for centre in points + random.uniform(-reach, reach, points.shape):
            assert (np.abs(points - centre) <= reach).all(axis=1).sum() <= bound
        assert bound <= 300
    assert most_near(points[:0], 1.0) == 0
    strays = np.array([[np.nan] * 3, [np.inf, 0, 0]], dtype=np.float32)
    assert most_near(np.concatenate((points, strays)), 0.5) == most_near(points, 0.5)


def test_what_an_operator_may_have_written_is_known_no_longer() -> None:
    values = _begin()
    recorder = new_recorder(Attribution(nn.Module()))
    recorder.values = values
    with recorder:
        found = torch.full((1, 8), -1, dtype=torch.int32, device="meta")
        assert not values.branch((found >= 0).any(), values.question("branch"))
        boxes, points = torch.empty(1, 2, 7, device="meta"), torch.empty(1, 8, 3, device="meta")
        OPS["roiaware_pool3d_cuda"]["points_in_boxes_gpu"](boxes, points, found)
        inside = values.mask(found >= 0, values.question("mask"))
    assert int(inside.sum()) == 4
