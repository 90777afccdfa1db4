from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import Running, begin
from bevdiag.source.stubs.ops import OPS
from bevdiag.source.stubs.pairs import most_near
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder

STACK = OPS["pointnet2_stack_cuda"]
ROOM = 7


def _begin(scenario: Scenario = Scenario.EXPECTED) -> AssumedValues:
    assumed = AssumedValues(scenario, {})
    begin(Running(SimulatedGpu(Recorder(Attribution(nn.Module())), assumed), assumed))
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
    recorder = Recorder(Attribution(nn.Module()))
    recorder.unknown = values
    with recorder:
        found = torch.full((1, 8), -1, dtype=torch.int32, device="meta")
        assert not values.branch((found >= 0).any(), values.question("branch"))
        boxes, points = torch.empty(1, 2, 7, device="meta"), torch.empty(1, 8, 3, device="meta")
        OPS["roiaware_pool3d_cuda"]["points_in_boxes_gpu"](boxes, points, found)
        inside = values.mask(found >= 0, values.question("mask"))
    assert int(inside.sum()) == 4
