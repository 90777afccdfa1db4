import pytest
import torch
from torch import nn

from bevdiag.source.lanes import DeviceLanes
from bevdiag.source.standins.ops import OPS
from bevdiag.source.state import Running, begin
from bevdiag.source.values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder


@pytest.fixture
def values() -> AssumedValues:
    assumed = AssumedValues(Scenario.EXPECTED, {})
    recorder = Recorder(Attribution(nn.Module()))
    begin(Running(DeviceLanes(recorder, assumed), assumed))
    return assumed


def test_ranks_within_groups() -> None:
    groups = torch.tensor([5, 2, 5, 5, 2])
    ranks = torch.empty_like(groups)
    OPS["ingroup_inds_cuda"]["forward"](groups, ranks)
    assert ranks.tolist() == [0, 0, 1, 2, 1]


def test_points_in_turned_boxes() -> None:
    # A box of 4 x 2 x 2 m turned by 90 degrees is 2 wide in x and 4 in y.
    boxes = torch.tensor([[[0.0, 0, 0, 4, 2, 2, torch.pi / 2], [10, 0, 0, 2, 2, 2, 0]]])
    points = torch.tensor([[[0.0, 1.9, 0], [1.9, 0, 0], [10.5, 0.5, 0.5], [0, 0, 1.5]]])
    found = torch.full((1, 4), -1, dtype=torch.int32)
    OPS["roiaware_pool3d_cuda"]["points_in_boxes_gpu"](boxes, points, found)
    assert found.tolist() == [[0, -1, 1, -1]]
    table = torch.zeros(2, 4, dtype=torch.int32)
    OPS["roiaware_pool3d_cuda"]["points_in_boxes_cpu"](boxes[0], points[0], table)
    assert table.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_padded_boxes_hold_no_points() -> None:
    found = torch.full((1, 1), -1, dtype=torch.int32)
    inside = OPS["roiaware_pool3d_cuda"]["points_in_boxes_gpu"]
    inside(torch.zeros(1, 3, 7), torch.zeros(1, 1, 3), found)
    assert found.tolist() == [[-1]]


def test_suppression_keeps_all_and_says_so(values: AssumedValues) -> None:
    keep = torch.empty(6, dtype=torch.int64)
    assert OPS["iou3d_nms_cuda"]["nms_gpu"](torch.empty(6, 7, device="meta"), keep, 0.7) == 6
    assert keep.tolist() == list(range(6))
    (assumption,) = values.assumptions.values()
    assert assumption.site.endswith(":nms")
    assert (assumption.low, assumption.expected, assumption.high) == (1, 6, 6)


def test_farthest_points_are_indices_of_points() -> None:
    out = torch.empty(2, 5, dtype=torch.int32)
    sample = OPS["pointnet2_batch_cuda"]["farthest_point_sampling_wrapper"]
    sample(2, 3, 5, torch.zeros(2, 3, 3), None, out)
    assert out.tolist() == [[0, 1, 2, 0, 1]] * 2
    stacked = torch.empty(5, dtype=torch.int32)
    sample = OPS["pointnet2_stack_cuda"]["stack_farthest_point_sampling_wrapper"]
    counts = torch.tensor([2, 3], dtype=torch.int32)
    sample(None, None, torch.tensor([4, 2]), stacked, counts)
    assert stacked.tolist() == [0, 1, 0, 1, 0]


def test_bev_pooling_makes_the_map_and_its_gradient() -> None:
    features, cells = torch.empty(7, 4, device="meta"), torch.zeros(7, 4)
    pooled = OPS["bev_pool_ext"]["bev_pool_forward"](features, cells, None, None, 2, 1, 5, 6)
    assert pooled.shape == (2, 1, 5, 6, 4)
    back = OPS["bev_pool_ext"]["bev_pool_backward"](pooled, cells, None, None, 2, 1, 5, 6)
    assert back.shape == (7, 4)


@pytest.mark.parametrize("module", ["pointnet2_stack_cuda", "roipoint_pool3d_cuda"])
def test_outputs_of_features_need_no_filling(module: str) -> None:
    name = "forward" if "roipoint" in module else "ball_query_wrapper"
    assert OPS[module][name](torch.empty(2, device="meta"), 1, None) == 1
