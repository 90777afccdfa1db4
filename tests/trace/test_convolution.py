from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.memory.events import Category, EventStream, Phase
from bevdiag.memory.requests import ConvCall


def _run(
    recordings: Any, layer: nn.Module, data: torch.Tensor, *, strided_grad: bool = False
) -> Any:
    """The recorder's events of one forward and backward pass."""
    with recordings.recording(layer) as recorder:
        output = layer(data)
        grad = torch.empty_like(output)
        if strided_grad:
            grad = torch.empty(output.shape[::-1], device="meta").permute(3, 2, 1, 0)
        recorder.mark(1, Phase.BACKWARD)
        output.backward(grad)
        del output, grad
    return recorder.stream(1)


def _calls(stream: EventStream) -> list[ConvCall]:
    return [e.request for e in stream.allocs() if isinstance(e.request, ConvCall)]


def _meta(*shape: int, requires_grad: bool = True) -> torch.Tensor:
    return torch.empty(*shape, device="meta", requires_grad=requires_grad)


def test_each_direction_is_one_call_with_the_same_shapes(recordings: Any) -> None:
    layer = nn.Conv2d(8, 16, 3, stride=2, padding=1, dilation=(1, 2), device="meta")
    calls = _calls(_run(recordings, layer, _meta(2, 8, 20, 30)))
    assert [call.direction for call in calls] == ["forward", "dgrad", "wgrad"]
    for call in calls:
        assert call.input_shape == (2, 8, 20, 30)
        assert call.weight_shape == (16, 8, 3, 3)
        assert call.output_shape == (2, 16, 10, 14)
        assert call.stride == (2, 2)
        assert call.padding == (1, 1)
        assert call.dilation == (1, 2)
        assert (call.groups, call.transposed, call.channels_last) == (1, False, False)
        assert (call.element_bytes, call.dtype) == (4, "float32")


def test_a_transposed_grouped_half_precision_convolution_says_so(recordings: Any) -> None:
    layer = nn.ConvTranspose2d(8, 16, 2, stride=2, groups=4, device="meta", dtype=torch.float16)
    data = torch.empty(1, 8, 5, 6, device="meta", dtype=torch.float16, requires_grad=True)
    forward = _calls(_run(recordings, layer, data))[0]
    assert (forward.transposed, forward.groups) == (True, 4)
    assert forward.weight_shape == (8, 4, 2, 2)
    assert forward.output_shape == (1, 16, 10, 12)
    assert (forward.element_bytes, forward.dtype) == (2, "float16")


def test_one_dimensional_settings_are_those_of_every_axis(recordings: Any) -> None:
    data, weight = _meta(1, 2, 4, 5, 6), _meta(3, 2, 3, 3, 3)
    with recordings.recording() as recorder:
        torch.nn.functional.conv3d(data, weight, stride=2, padding=1)
    call = _calls(recorder.stream(1))[0]
    assert call.stride == (2, 2, 2)
    assert call.padding == (1, 1, 1)


def test_channels_last_input_is_noticed(recordings: Any) -> None:
    layer = nn.Conv2d(8, 16, 3, device="meta")
    data = _meta(2, 8, 20, 30, requires_grad=False).to(memory_format=torch.channels_last)
    assert _calls(_run(recordings, layer, data))[0].channels_last


def test_the_workspace_comes_after_its_output_and_goes_at_once(recordings: Any) -> None:
    stream = _run(recordings, nn.Conv2d(8, 16, 3, device="meta"), _meta(2, 8, 20, 30))
    for event in stream.allocs(stream.request >= 0):
        assert event.category is Category.WORKSPACE
        assert event.nbytes == 0
        assert stream.freed[event.block] == stream.made[event.block] + 1


def test_the_backward_pass_settles_one_gradient_after_the_other(recordings: Any) -> None:
    # Input gradient, its workspace, weight gradient, its workspace, bias gradient.
    stream = _run(recordings, nn.Conv2d(8, 16, 3, device="meta"), _meta(2, 8, 20, 30))
    backward = [e for e in stream.allocs() if e.phase is Phase.BACKWARD]
    order = [e.request.direction if isinstance(e.request, ConvCall) else e.shape for e in backward]
    assert order == [(2, 8, 20, 30), "dgrad", (16, 8, 3, 3), "wgrad", (16,)]


def test_an_input_without_gradient_has_no_input_gradient(recordings: Any) -> None:
    layer = nn.Conv2d(8, 16, 3, bias=False, device="meta")
    calls = _calls(_run(recordings, layer, _meta(2, 8, 20, 30, requires_grad=False)))
    assert [call.direction for call in calls] == ["forward", "wgrad"]


@pytest.mark.parametrize("strided_grad", [False, True])
def test_a_strided_gradient_is_copied_in_each_of_the_two_calls(
    recordings: Any, strided_grad: bool
) -> None:
    layer = nn.Conv2d(8, 16, 3, device="meta")
    stream = _run(recordings, layer, _meta(2, 8, 20, 30), strided_grad=strided_grad)
    copies = [e for e in stream.allocs() if e.op == "aten.contiguous"]
    assert [copy.nbytes for copy in copies] == [4 * 2 * 16 * 18 * 28] * 2 * strided_grad
    for copy, direction in zip(copies, ("dgrad", "wgrad"), strict=False):
        call = next(e for e in stream.allocs() if e.request and e.op.startswith(direction))
        made, freed = stream.made, stream.freed
        assert made[copy.block] < made[call.block] < freed[copy.block]


def test_a_strided_input_is_copied_once_more_for_the_weights_gradient(recordings: Any) -> None:
    data = _meta(30, 20, 8, 2).permute(3, 2, 1, 0)
    stream = _run(recordings, nn.Conv2d(8, 16, 3, device="meta"), data)
    copies = [e for e in stream.allocs() if e.op == "aten.contiguous"]
    assert [copy.phase for copy in copies] == [Phase.FORWARD, Phase.BACKWARD]
    assert {copy.nbytes for copy in copies} == {4 * 2 * 8 * 20 * 30}


def test_a_strided_input_is_copied_forward(recordings: Any) -> None:
    data = _meta(30, 20, 8, 2).permute(3, 2, 1, 0)
    layer = nn.Conv2d(8, 16, 3, device="meta")
    stream = _run(recordings, layer, data)
    copy = next(e for e in stream.allocs() if e.op == "aten.contiguous")
    assert copy.phase is Phase.FORWARD
    assert copy.nbytes == 4 * 2 * 8 * 20 * 30


def test_a_gradient_that_comes_through_a_permutation_is_copied(recordings: Any) -> None:
    # Channels-last for the gradient alone does not make the backend work that way.
    class Permuted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(8, 16, 3, device="meta")

        def forward(self, data: torch.Tensor) -> torch.Tensor:
            return self.layer(data).permute(0, 2, 3, 1).contiguous()

    stream = _run(recordings, Permuted(), _meta(2, 8, 20, 30))
    copies = [e for e in stream.allocs() if e.op == "aten.contiguous"]
    assert [copy.nbytes for copy in copies] == [4 * 2 * 16 * 18 * 28]
    # It is gone when the bias's gradient is summed.
    bias = next(e for e in stream.allocs() if e.phase is Phase.BACKWARD and e.shape == (16,))
    assert stream.freed[copies[0].block] < stream.made[bias.block]


def test_channels_last_stays_so_and_only_the_weight_is_copied(recordings: Any) -> None:
    layer = nn.Conv2d(8, 16, 3, device="meta")
    data = _meta(2, 8, 20, 30, requires_grad=False).to(memory_format=torch.channels_last)
    data.requires_grad_()
    with recordings.recording(layer) as recorder:
        output = layer(data)
        recorder.mark(1, Phase.BACKWARD)
        (grad,) = torch.autograd.grad(output, [data], torch.empty_like(output))
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert grad.is_contiguous(memory_format=torch.channels_last)
    copies = recordings.allocs(recorder.stream(1), op="aten.contiguous")
    assert [copy.nbytes for copy in copies] == [4 * 16 * 8 * 9] * 2


def test_a_transposed_convolution_copies_a_gradient_with_gaps_once(recordings: Any) -> None:
    layer = nn.ConvTranspose2d(8, 16, 2, stride=2, bias=False, device="meta")
    with recordings.recording(layer) as recorder:
        output = layer(_meta(2, 8, 5, 6))
        recorder.mark(1, Phase.BACKWARD)
        output.backward(torch.empty(2, 32, 10, 12, device="meta")[:, :16])
    copies = recordings.allocs(recorder.stream(1), op="aten.contiguous")
    assert [copy.nbytes for copy in copies] == [4 * 2 * 16 * 120]
