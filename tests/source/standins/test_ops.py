import pytest
import torch
from torch import nn

from bevdiag.source.lanes import DeviceLanes
from bevdiag.source.standins.ops import OPS
from bevdiag.source.state import Running, begin
from bevdiag.trace.assumed_values import AssumedValues, Scenario
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


def test_suppression_keeps_all_and_says_so(values: AssumedValues) -> None:
    keep = torch.empty(6, dtype=torch.int64)
    assert OPS["iou3d_nms_cuda"]["nms_gpu"](torch.empty(6, 7, device="meta"), keep, 0.7) == 6
    assert keep.tolist() == list(range(6))
    (assumption,) = values.assumptions.values()
    assert assumption.site.endswith(":nms")
    assert (assumption.low, assumption.expected, assumption.high) == (1, 6, 6)


@pytest.mark.parametrize("module", ["pointnet2_stack_cuda", "roipoint_pool3d_cuda"])
def test_outputs_of_features_need_no_filling(module: str) -> None:
    name = "forward" if "roipoint" in module else "ball_query_wrapper"
    assert OPS[module][name](torch.empty(2, device="meta"), 1, None) == 1
