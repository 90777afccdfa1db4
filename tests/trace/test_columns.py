from collections.abc import Iterator

import pytest
import torch
from torch import nn

from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder

SAMPLES = [0, 0, 0, 1, 1]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder(Attribution(nn.Module()))
    made.unknown = AssumedValues(Scenario.HIGH, {})
    with made:
        yield made


def _joined(recorder: Recorder, *, needs_gradient: bool = False) -> torch.Tensor:
    with recorder.for_device():
        sample = torch.tensor(SAMPLES).float()
    features = torch.empty(5, 3, device="meta", requires_grad=needs_gradient)
    return torch.cat((sample[:, None], features), dim=-1)


def test_a_sample_s_rows_are_counted_beside_features(recorder: Recorder) -> None:
    rows = _joined(recorder)
    assert [len(rows[rows[:, 0] == sample]) for sample in (0, 1)] == [3, 2]
    assert rows[:, 0].is_contiguous() is False
    assert rows[1:, 0].tolist() == SAMPLES[1:]
    assert rows[:, :1].tolist() == [[sample] for sample in SAMPLES]


def test_views_and_detached_tensors_know_their_columns_too(recorder: Recorder) -> None:
    with recorder.for_device():
        sample = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    rows = torch.cat((sample[..., None], torch.empty(2, 2, 3, device="meta")), dim=-1)
    assert rows.view(-1, 4).detach()[:, 0].tolist() == [0, 0, 1, 1]
    assert rows[1, :, 0].tolist() == [1, 1]


def test_an_empty_part_adds_no_column(recorder: Recorder) -> None:
    with recorder.for_device():
        sample = torch.tensor(SAMPLES).float()[:, None]
    joined = torch.cat((sample, torch.empty(5, 3, device="meta"), sample[:, 1:]), dim=-1)
    assert joined[:, 0].tolist() == SAMPLES
    assert joined[:, -1].is_meta


def test_features_stay_without_values(recorder: Recorder) -> None:
    rows = _joined(recorder)
    assert rows[:, 1].is_meta
    assert rows[:, :2].is_meta
    assert rows[0].is_meta


def test_what_is_written_over_is_known_no_longer(recorder: Recorder) -> None:
    rows = _joined(recorder)
    rows.mul_(torch.empty(5, 4, device="meta"))
    assert rows[:, 0].is_meta


def test_a_column_that_passes_a_gradient_stays_a_part_of_its_tensor(recorder: Recorder) -> None:
    rows = _joined(recorder, needs_gradient=True)
    assert rows[:, 0].is_meta
    assert rows.detach()[:, 0].tolist() == SAMPLES


def test_a_picked_column_is_no_memory_of_its_own_and_keeps_its_tensor(recorder: Recorder) -> None:
    rows = _joined(recorder)
    block = recorder.block_of(rows)
    before = recorder.position
    column = rows[:, 0]
    del rows
    assert recorder.position == before
    assert recorder.block_of(column) == block
    del column
    stream = recorder.stream(1)
    assert before <= stream.freed[block] < len(stream.events)
    assert not (stream.made >= before).any()
