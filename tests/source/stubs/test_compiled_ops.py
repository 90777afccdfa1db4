from collections.abc import Iterator

import pytest
import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs.compiled_ops import OPS
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder


@pytest.fixture
def values() -> AssumedValues:
    assumed = AssumedValues(Scenario.EXPECTED, {})
    recorder = new_recorder(Attribution(nn.Module()))
    begin(SimulatedGpu(recorder, assumed))
    return assumed


@pytest.mark.parametrize("module", ["ingroup_inds_cuda", "ingroup_indices"])
def test_ranks_within_groups(module: str) -> None:
    groups = torch.tensor([5, 2, 5, 5, 2])
    ranks = torch.empty_like(groups)
    OPS[module]["forward"](groups, ranks)
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


@pytest.fixture
def traced() -> Iterator[AssumedValues]:
    """A trace that is running, with features on meta."""
    assumed = AssumedValues(Scenario.EXPECTED, {})
    recorder = new_recorder(Attribution(nn.Module()))
    recorder.values = assumed
    gpu = SimulatedGpu(recorder, assumed)
    begin(gpu)
    with recorder, gpu:
        yield assumed


def _centres() -> torch.Tensor:
    return torch.empty(4, 3, device="meta")


def _query(out: torch.Tensor) -> None:
    points, counts = torch.zeros(9, 3), torch.tensor([9]).int()
    query = OPS["pointnet2_stack_cuda"]["ball_query_wrapper"]
    query(1, 4, 1.0, 2, _centres(), torch.tensor([4]).int(), points, counts, out)


def test_what_features_decide_is_not_what_the_wrapper_had_put_there(traced: AssumedValues) -> None:
    out = torch.zeros(4, 2, dtype=torch.int32, device="cuda")
    _query(out)
    assert out.is_meta
    assert out.shape == (4, 2)
    assert out.max() < 5  # a branch that both ways are taken of: zeros would have decided it
    assert len(traced.branches_met) == 1


def test_a_call_in_no_known_form_may_fill_any_of_its_tensors(traced: AssumedValues) -> None:
    out = torch.zeros(4, 2, dtype=torch.int32, device="cuda")
    assert OPS["pointnet2_stack_cuda"]["ball_query_wrapper"](1, out, _centres()) == 1
    assert out.is_meta


def test_how_many_boxes_survive_is_not_guessed_from_a_call_in_no_known_form() -> None:
    boxes, keep = torch.empty(4, 7, device="meta"), torch.empty(4, dtype=torch.int64)
    with pytest.raises(NoVerdictError, match="called with 5 arguments"):
        OPS["iou3d_nms_cuda"]["nms_gpu"](boxes, boxes, keep, 0.7, 0.1)


def test_no_more_boxes_survive_than_a_later_step_has(
    traced: AssumedValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step, which is rehearsed, may keep more than another scenario's steps have."""
    monkeypatch.setattr(traced, "_rehearsed_number", lambda question: 7)
    keep = torch.empty(4, dtype=torch.int64)
    assert OPS["iou3d_nms_cuda"]["nms_gpu"](torch.empty(4, 7, device="meta"), keep, 0.7) == 4
    assert keep.tolist() == [0, 1, 2, 3]


def test_a_count_that_is_assumed_stays_beside_a_list_that_nobody_knows(
    traced: AssumedValues,
) -> None:
    found, total = (torch.zeros(n, dtype=torch.int32, device="cuda") for n in (50, 1))
    start_len = torch.zeros(4, 2, dtype=torch.int32, device="cuda")
    points, counts = torch.zeros(9, 3), torch.tensor([9]).int()
    OPS["pointnet2_stack_cuda"]["query_stacked_local_neighbor_idxs_wrapper_stack"](
        points, counts, _centres(), counts, found, start_len, total, 1, 1.0, 2, 1
    )
    assert found.is_meta
    assert start_len.is_meta
    assert total.numpy().item() == 8


def test_what_is_written_unseen_into_a_part_of_a_tensor_is_not_known(traced: AssumedValues) -> None:
    whole = torch.zeros(2, 4, 2, dtype=torch.int32, device="cuda")
    held = whole.view(-1)
    _query(whole[1])
    assert whole.is_meta
    assert held.is_meta
    assert not traced.open
    whole[0].sum().item()
    (sentence,) = traced.open
    assert "depends on values" in sentence


def test_a_gradient_has_no_values(traced: AssumedValues) -> None:
    back = torch.zeros(1, 3, 9, device="cuda")
    grad = torch.empty(1, 3, 4, 2, device="meta")
    rows = torch.zeros(1, 4, 2, dtype=torch.int32, device="cuda")
    OPS["pointnet2_batch_cuda"]["group_points_grad_wrapper"](1, 3, 9, 4, 2, grad, rows, back)
    assert back.is_meta
    assert not rows.is_meta


def test_regions_are_pooled_without_values(traced: AssumedValues) -> None:
    points = torch.zeros(1, 9, 3, device="cuda")
    pooled = torch.zeros(1, 2, 5, 7, device="cuda")
    empty = torch.zeros(1, 2, dtype=torch.int32, device="cuda")
    features = torch.empty(1, 9, 4, device="meta")
    OPS["roipoint_pool3d_cuda"]["forward"](points, torch.zeros(1, 2, 7), features, pooled, empty)
    assert pooled.is_meta
    assert empty.is_meta
    assert not points.is_meta
