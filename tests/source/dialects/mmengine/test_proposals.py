"""The boxes of a first stage: values near the ground truth, in the memory that was there."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.source.dialects.mmengine.proposals import near, with_proposals
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder


class _Result(SimpleNamespace):
    """What MMEngine's instances answer: whether they have a field, and its value."""

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


class _Head(nn.Module):
    """A first stage that proposes eight boxes without values and forgets the ground truth."""

    def loss_and_predict(self, features: Any, data_samples: Any) -> Any:
        results = []
        for sample in data_samples:
            del sample.gt_instances_3d
            boxes = SimpleNamespace(tensor=torch.empty(8, 7, device="meta"))
            scores = torch.empty(8, device="meta")
            results.append(_Result(bboxes_3d=boxes, scores_3d=scores, labels_3d=scores.long()))
        return {}, results


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = new_recorder(Attribution(nn.Module()))
    values = AssumedValues(Scenario.EXPECTED, {})
    gpu = SimulatedGpu(made, values)
    begin(gpu)
    with made, gpu:
        yield made


def test_a_first_stage_hands_on_boxes_with_values_that_take_no_memory(recorder: Recorder) -> None:
    model = nn.Module()
    model.rpn_head = _Head()
    with_proposals(model)
    truth = SimpleNamespace(tensor=torch.tensor([[1.0, 2, 3, 4, 5, 6, 0], [9, 9, 9, 1, 1, 1, 1]]))
    sample = _Result(gt_instances_3d=_Result(bboxes_3d=truth, labels_3d=torch.tensor([2, 0])))
    before = recorder.position
    _, (result,) = model.rpn_head.loss_and_predict(None, [sample])
    # Three tensors of the head's own; their values stand in the same blocks.
    assert recorder.position - before == 3
    assert recorder.is_device(result.bboxes_3d.tensor)
    assert not result.bboxes_3d.tensor.is_meta
    assert result.bboxes_3d.tensor[0].tolist() == truth.tensor[0].tolist()
    assert result.labels_3d.tolist() == [2, 0] * 4
    assert (result.scores_3d.diff() < 0).all()


def test_half_lie_on_a_box_and_a_quarter_elsewhere() -> None:
    box = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0, 1, 1]])
    off = near(box, torch.empty(40, 7))[:, 0] / 2
    assert (off < 0.1).sum() == 20
    assert ((off > 0.3) & (off < 0.5)).sum() == 10
    assert (off > 1).sum() == 10


def test_boxes_of_an_image_keep_their_width() -> None:
    made = near(torch.tensor([[10.0, 20, 40, 50]]), torch.empty(4, 4))
    assert torch.equal(made[:, 2] - made[:, 0], torch.full((4,), 30.0))
    assert made[3, 0] == 100
