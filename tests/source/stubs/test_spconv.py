import pytest
import torch
from torch import nn

from bevdiag.channel import make_channel
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs.spconv import spconv_modules
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.rehearsal import Prompter
from bevdiag.trace.unknown_values import Question

SPCONV = spconv_modules()["spconv.pytorch"]


@pytest.fixture
def running() -> SimulatedGpu:
    assumed = AssumedValues(Scenario.EXPECTED, {})
    trace = SimulatedGpu(new_recorder(Attribution(nn.Module())), assumed)
    begin(trace)
    return trace


def _voxels() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(2, 3), torch.tensor([[0, 1, 1, 1], [0, 1, 1, 2]], dtype=torch.int32)


def test_features_lose_their_values_in_a_trace(running: SimulatedGpu) -> None:
    features, indices = _voxels()
    assert SPCONV.SparseConvTensor(features, indices, (4, 4, 4), 1).features.is_meta


def test_a_rehearsal_hears_that_coordinates_are_wanted() -> None:
    ours, theirs = make_channel()
    ours.send(Question("number", "a.py:1", "", 0))
    heard: list[tuple[str, torch.Tensor]] = []

    class Hearing(RehearsedValues):
        def seen(self, question: Question, value: torch.Tensor) -> None:
            heard.append((question.kind, value))

    values = Hearing(Prompter(theirs))
    recorder = new_recorder(Attribution(nn.Module()))
    recorder.values = values
    begin(SimulatedGpu(recorder, values))
    features, indices = _voxels()
    SPCONV.SparseConvTensor(features, indices, (4, 4, 4), 1)
    assert [(kind, value.tolist()) for kind, value in heard] == [("copy", indices.tolist())]


@torch.no_grad()
def test_layers_compute_in_a_rehearsal() -> None:
    ours, theirs = make_channel()
    ours.send(Question("number", "a.py:1", "", 0))
    values = RehearsedValues(Prompter(theirs))
    begin(SimulatedGpu(new_recorder(Attribution(nn.Module())), values))
    features, indices = _voxels()
    layer = SPCONV.SubMConv3d(3, 5, 3, bias=False)

    tensor = layer(SPCONV.SparseConvTensor(features, indices, (4, 4, 4), 1))

    sums = layer.weight.sum(-1)[:, 1, 1]
    expected = torch.stack((sums[:, 1] + sums[:, 2], sums[:, 0] + sums[:, 1]))
    torch.testing.assert_close(tensor.features, expected)
    assert tensor.dense().shape == (1, 5, 4, 4, 4)
    assert isinstance(tensor, SPCONV.SparseConvTensor)
