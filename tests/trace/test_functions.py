from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bevdiag.memory.events import Category, Phase

CHANNELS = 8


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, device="meta", dtype=dtype)


def _ops(recordings: Any, recorder: Any, **wanted: Any) -> list[tuple[str, int]]:
    return [(a.op, a.nbytes) for a in recordings.allocs(recorder.stream(1), **wanted)]


# -- linear layers ------------------------------------------------------------------------------


def test_a_strided_linear_layer_adds_its_bias_in_place(recordings: Any) -> None:
    layer = nn.Linear(16, 32, device="meta")
    with recordings.recording(layer) as recorder:
        data = _meta(5, 4, 16).transpose(0, 1)
        output = layer(data)
    assert output.shape == (4, 5, 32)
    forward = _ops(recordings, recorder, phase=Phase.FORWARD)
    # The input, its dense copy for the product, and one output: no second one for the bias.
    assert [nbytes for _, nbytes in forward if nbytes] == [1280, 1280, 2560]
    assert forward[-1][0] == "aten.mm.default"


@pytest.mark.parametrize("shape", [(20, 16), (4, 5, 16)])
def test_a_dense_linear_layer_is_one_fused_product(recordings: Any, shape: tuple[int, ...]) -> None:
    layer = nn.Linear(16, 32, device="meta")
    with recordings.recording(layer) as recorder:
        layer(_meta(*shape))
    made = [row for row in _ops(recordings, recorder, phase=Phase.FORWARD) if row[1]]
    # cuBLASLt's workspace, once, and one output.
    assert made == [
        ("aten.empty.memory_format", 1280),
        ("aten.addmm.default", 2**20),
        ("aten.addmm.default", 2560),
    ]


def test_linear_layers_learn_as_pytorchs_own(recordings: Any) -> None:
    data = torch.randn(5, 4, 16).transpose(0, 1).requires_grad_()
    layer = nn.Linear(16, 32)
    layer(data).sum().backward()
    expected = layer.weight.grad
    assert expected is not None
    layer.zero_grad()
    with recordings.recording():
        layer(data).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, expected)


# -- batch norm --------------------------------------------------------------------------------


def _norm(recordings: Any, data: Tensor, **settings: Any) -> tuple[list[str], Any]:
    classes = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    layer = classes[data.dim()](CHANNELS, device="meta", **settings)
    with recordings.recording() as recorder:
        layer(data)
    return [op for op, _ in _ops(recordings, recorder)], recorder


def _uses_cudnn(ops: list[str]) -> bool:
    native = "aten.native_batch_norm.default" in ops
    assert native != ("aten.empty_like.default" in ops)
    return not native


@pytest.mark.parametrize(
    ("shape", "settings", "expected"),
    [
        ((2, CHANNELS, 6, 5), {}, True),
        ((2, CHANNELS, 6), {}, True),
        ((2, CHANNELS, 4, 6, 5), {}, True),
        ((100, CHANNELS), {}, False),  # points: no spatial axis
        ((2, CHANNELS, 6, 5), {"affine": False}, False),
        ((2, CHANNELS, 6, 5), {"eps": 1e-6}, False),
        ((880_801, CHANNELS, 1), {}, True),
        ((880_802, CHANNELS, 1), {}, False),
    ],
)
def test_batch_norm_picks_cudnn_by_its_rule(
    recordings: Any, shape: tuple[int, ...], settings: Any, expected: bool
) -> None:
    ops, _ = _norm(recordings, _meta(*shape), **settings)
    assert _uses_cudnn(ops) is expected


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float16, True), (torch.bfloat16, False)])
def test_half_precision_goes_to_cudnn_as_float16_only(
    recordings: Any, dtype: torch.dtype, expected: bool
) -> None:
    ops, _ = _norm(recordings, _meta(2, CHANNELS, 6, 5, dtype=dtype))
    assert _uses_cudnn(ops) is expected


def test_an_evaluated_norm_is_native(recordings: Any) -> None:
    layer = nn.BatchNorm2d(CHANNELS, device="meta").eval()
    with recordings.recording() as recorder:
        layer(_meta(2, CHANNELS, 6, 5))
    assert "aten.empty_like.default" not in [op for op, _ in _ops(recordings, recorder)]


def test_cudnn_batch_norm_copies_a_strided_input_and_keeps_the_copy(recordings: Any) -> None:
    layer = nn.BatchNorm2d(CHANNELS, device="meta")
    data = _meta(6, 5, CHANNELS, 2).permute(3, 2, 0, 1).requires_grad_()
    with recordings.recording(layer) as recorder:
        output = layer(data)
        recorder.mark(1, Phase.BACKWARD)
        output.sum().backward()
    map_bytes = 4 * 2 * CHANNELS * 6 * 5
    forward = recordings.allocs(recorder.stream(1), phase=Phase.FORWARD)
    kept = [a.nbytes for a in forward if a.category is Category.ACTIVATION]
    assert sorted(kept)[-2:] == [map_bytes, map_bytes]  # the dense copy and the output
    assert sorted(kept)[:-2] == [4 * CHANNELS] * 2  # mean and inverse deviation


def test_cudnn_batch_norm_gives_each_parameter_its_gradient(recordings: Any) -> None:
    layer = nn.BatchNorm2d(CHANNELS, device="meta")
    data = _meta(2, CHANNELS, 6, 5).requires_grad_()
    with recordings.recording(layer) as recorder:
        output = layer(data * 2)
        recorder.mark(1, Phase.BACKWARD)
        output.sum().backward()
    assert data.grad is not None
    assert data.grad.shape == data.shape
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == (CHANNELS,)


def test_on_the_cpu_batch_norm_is_pytorchs_own(recordings: Any) -> None:
    data = torch.randn(4, CHANNELS, 3, 3)
    layer = nn.BatchNorm2d(CHANNELS)
    expected = layer(data)
    with recordings.recording():
        torch.testing.assert_close(layer(data), expected)


# -- softmax -----------------------------------------------------------------------------------


@pytest.mark.parametrize("softmax", [torch.softmax, torch.log_softmax, F.softmax, F.log_softmax])
@pytest.mark.parametrize(("dtype", "copies"), [(torch.float16, 0), (torch.bfloat16, 1)])
def test_the_kernel_itself_widens_float16_only(
    recordings: Any, softmax: Any, dtype: torch.dtype, copies: int
) -> None:
    scores = _meta(10, 20, dtype=dtype).requires_grad_()
    with recordings.recording() as recorder:
        result = softmax(scores, dim=-1, dtype=torch.float32)
        recorder.mark(1, Phase.BACKWARD)
        result.sum().backward()
    assert result.dtype is torch.float32
    assert scores.grad is not None
    assert scores.grad.dtype is dtype
    forward = [n for _, n in _ops(recordings, recorder, phase=Phase.FORWARD)]
    assert forward == [800] * (copies + 1)


# -- factories ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(3),
        lambda: torch.zeros(3),
        lambda: torch.ones(3),
        lambda: torch.full((3,), 2.0),
        lambda: torch.arange(3),
        lambda: torch.linspace(0, 1, 3),
        lambda: torch.tensor([1, 2, 3]),
        lambda: torch.rand(3),
        lambda: torch.randn(3),
        lambda: torch.eye(3),
        lambda: torch.as_tensor([1, 2, 3]),
    ],
)
def test_what_is_made_without_a_device_stays_on_the_host(recordings: Any, make: Any) -> None:
    with recordings.recording() as recorder:
        made = make()
        _ = made * 2
        assert not recorder.is_device(made)
    assert _ops(recordings, recorder) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(4, device="meta"),
        lambda: torch.arange(4, device="meta").float(),
        lambda: torch.empty(4, device=torch.device("meta")),
        lambda: torch.zeros_like(torch.empty(4, device="meta")),
        lambda: torch.empty(9, device="meta").new_zeros(4),
    ],
)
def test_what_is_made_on_meta_or_like_it_is_the_devices(recordings: Any, make: Any) -> None:
    with recordings.recording() as recorder:
        made = make()
        assert recorder.is_device(made)
    assert _ops(recordings, recorder)[-1][1] == 16


# -- the mode itself -----------------------------------------------------------------------------


def test_pytorchs_own_python_functions_run_their_bodies(recordings: Any) -> None:
    checks = torch.nn.functional.has_torch_function_unary
    with recordings.recording():
        assert F.has_torch_function_unary is not checks  # type: ignore[attr-defined]
        assert F.softmax(_meta(3, 4), dim=-1).shape == (3, 4)
    assert torch.nn.functional.has_torch_function_unary is checks


def test_the_checks_come_back_after_an_error(recordings: Any) -> None:
    checks = torch.nn.functional.has_torch_function_unary
    with pytest.raises(ZeroDivisionError), recordings.recording():
        raise ZeroDivisionError
    assert torch.nn.functional.has_torch_function_unary is checks
