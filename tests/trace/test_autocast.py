"""Autocast on meta against PyTorch's own: by dtype where the CPU's agrees, else by CUDA's lists."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bevdiag.memory.events import Category
from bevdiag.trace.autocast import (
    DTYPES,
    FULL_PRECISION,
    FULL_PRECISION_RESULT,
    LOWER_PRECISION,
    WIDEST,
    Autocast,
)
from bevdiag.trace.functions import cuda_functions

Function = Callable[[Tensor, Tensor], Tensor]

# Where CUDA's lists and the CPU's agree.
SHARED: dict[str, Function] = {
    "linear": lambda a, b: F.linear(a, b),
    "matmul": lambda a, b: torch.matmul(a, b),
    "operator": lambda a, b: a @ b,
    "method": lambda a, b: a.mm(b),
    "bmm": lambda a, b: torch.bmm(a[None], b[None]),
    "baddbmm": lambda a, b: torch.baddbmm(a[None], a[None], b[None]),
    "addmm": lambda a, b: torch.addmm(a, a, b),
    "einsum": lambda a, b: torch.einsum("ij,jk->ik", a, b),
    "conv1d": lambda a, b: F.conv1d(a[None], b[:, :, None]),
    "conv2d": lambda a, b: F.conv2d(a[None, :, :, None], b[:, :, None, None]),
    "conv3d": lambda a, b: F.conv3d(a[None, :, :, None, None], b[:, :, None, None, None]),
    "conv_transpose2d": lambda a, b: F.conv_transpose2d(a[None, :, :, None], b[:, :, None, None]),
    "attention": lambda a, b: F.scaled_dot_product_attention(a[None], b[None], b[None]),
    "relu": lambda a, b: F.relu(a),
    "gelu": lambda a, b: F.gelu(a),
    "add": lambda a, b: a + b,
}

# CUDA's policies from aten/src/ATen/autocast_mode.h: these come out as float32 from either type.
WIDE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda a: torch.softmax(a, -1),
    "F.softmax": lambda a: F.softmax(a, dim=-1),
    "log_softmax": lambda a: a.log_softmax(-1),
    "sum": lambda a: a.sum(),
    "torch.sum": lambda a: torch.sum(a, 0),
    "prod": lambda a: a.prod(),
    "cumsum": lambda a: a.cumsum(0),
    "exp": lambda a: a.exp(),
    "log": lambda a: torch.log(a),
    "pow": lambda a: a**2,
    "rsqrt": lambda a: a.rsqrt(),
    "norm": lambda a: torch.norm(a),
    "layer_norm": lambda a: F.layer_norm(a, (6,)),
    "group_norm": lambda a: F.group_norm(a, 2),
    "softplus": lambda a: F.softplus(a),
    "binary_cross_entropy": lambda a: F.binary_cross_entropy_with_logits(a, a),
    "cross_entropy": lambda a: F.cross_entropy(a, a),
    "mse_loss": lambda a: F.mse_loss(a, a),
    "smooth_l1_loss": lambda a: F.smooth_l1_loss(a, a),
    "l1_loss": lambda a: F.l1_loss(a, a),
    "logsumexp": lambda a: a.logsumexp(0),
    "interpolate": lambda a: F.interpolate(a[None, None], scale_factor=2),
    "bilinear": lambda a: F.interpolate(a[None, None], scale_factor=2, mode="bilinear"),
}


def _on_meta(recordings: Any, run: Callable[[], Tensor], dtype: torch.dtype) -> torch.dtype:
    autocast = Autocast(dtype)
    with recordings.recording(autocast=autocast), autocast.region():
        return run().dtype


def _meta(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(6, 6, dtype=dtype, device="meta")


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("first", [torch.float32, torch.bfloat16])
def test_results_have_the_type_that_pytorch_gives_them(
    recordings: Any, name: str, first: torch.dtype
) -> None:
    function = SHARED[name]
    with torch.autocast("cpu", torch.bfloat16):
        expected = function(torch.ones(6, 6, dtype=first), torch.ones(6, 6)).dtype
    found = _on_meta(recordings, lambda: function(_meta(first), _meta()), torch.bfloat16)
    assert found is expected


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_what_needs_precision_comes_out_as_float32(
    recordings: Any, name: str, dtype: torch.dtype
) -> None:
    function = WIDE[name]
    assert _on_meta(recordings, lambda: function(_meta(dtype)), dtype) is torch.float32
    assert _on_meta(recordings, lambda: function(_meta()), dtype) is torch.float32


WIDENED: dict[str, Function] = {
    "addcmul": lambda a, b: torch.addcmul(a, b, b),
    "dot": lambda a, b: torch.dot(a[0], b[0]),
    "tensordot": lambda a, b: torch.tensordot(a, b, 1),
    "scatter_add": lambda a, b: a.scatter_add(0, torch.zeros(6, 6, dtype=torch.int64), b),
    # These take the wider type by themselves.
    "cat": lambda a, b: torch.cat([a, b]),
    "stack": lambda a, b: torch.stack([a, b]),
    "add": lambda a, b: a + b,
}


@pytest.mark.parametrize("name", WIDENED)
def test_operands_of_two_types_give_the_wider_one(recordings: Any, name: str) -> None:
    function = WIDENED[name]
    for first, second, expected in (
        (torch.float16, torch.float32, torch.float32),
        (torch.float16, torch.float16, torch.float16),
        (torch.float32, torch.float32, torch.float32),
    ):
        run = partial(function, _meta(first), _meta(second))
        assert _on_meta(recordings, run, torch.float16) is expected


def test_joining_two_types_casts_neither_first(recordings: Any) -> None:
    autocast = Autocast(torch.float16)
    with recordings.recording(autocast=autocast) as recorder, autocast.region():
        torch.cat([_meta(), _meta(torch.float16)])
    sizes = [a.nbytes for a in recordings.allocs(recorder.stream(1))]
    assert sizes == [4 * 36, 2 * 36, 4 * 72]


HEADER = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"


@pytest.mark.skipif(not HEADER.exists(), reason="this torch comes without its C++ headers")
@pytest.mark.parametrize(
    ("policy", "ours"),
    [
        ("LOWER_PRECISION_FP", LOWER_PRECISION),
        ("FP32", FULL_PRECISION),
        ("FP32_SET_OPT_DTYPE", FULL_PRECISION_RESULT),
        ("PROMOTE", WIDEST),
    ],
)
def test_the_lists_are_those_of_the_installed_torch(policy: str, ours: str) -> None:
    macro = re.search(
        rf"#define AT_FORALL_{policy}\(_\)(.*?[^\\])\n", HEADER.read_text(), re.DOTALL
    )
    assert macro is not None
    theirs = set(re.findall(r"_\((\w+)", macro[1]))
    python_only = {"__matmul__", "__pow__", "nll_loss_nd", "cross_entropy_loss"}
    assert set(ours.split()) - python_only == theirs


def test_the_norm_of_a_half_precision_tensor_needs_no_copy_of_it(recordings: Any) -> None:
    autocast = Autocast(torch.float16)
    with recordings.recording(autocast=autocast) as recorder, autocast.region():
        norm = torch.norm(_meta(torch.float16))
    assert norm.dtype is torch.float32
    assert [a.nbytes for a in recordings.allocs(recorder.stream(1))] == [2 * 36, 4]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_doubles_and_integers_stay_as_they_are(recordings: Any, dtype: torch.dtype) -> None:
    product = lambda: torch.matmul(_meta(dtype), _meta(dtype))  # noqa: E731
    assert _on_meta(recordings, product, torch.float16) is dtype


def test_what_asks_for_a_type_gets_it(recordings: Any) -> None:
    run = lambda: _meta(torch.float16).sum(dtype=torch.float64)  # noqa: E731
    assert _on_meta(recordings, run, torch.float16) is torch.float64


def test_real_tensors_are_left_alone(recordings: Any) -> None:
    run = lambda: torch.ones(3, 3) @ torch.ones(3, 3)  # noqa: E731
    assert _on_meta(recordings, run, torch.bfloat16) is torch.float32


def test_features_made_of_real_coordinates_are_cast_as_unknown_ones_are(recordings: Any) -> None:
    layer = nn.Linear(6, 6, bias=False, device="meta")
    features = torch.ones(5, 6)
    with recordings.recording() as recorder:
        recorder.adopt(features, Category.INPUT, "", "batch")
        autocast = Autocast(torch.float16, recorder.is_device)
        with cuda_functions(recorder, autocast), autocast.region():
            assert layer(features).dtype is torch.float16
    casts = [a for a in recordings.allocs(recorder.stream(1)) if "_to_copy" in a.op]
    assert [cast.nbytes for cast in casts] == [2 * 30, 2 * 36]


def test_cross_entropy_takes_the_logarithm_in_half_and_the_loss_in_full_precision(
    recordings: Any,
) -> None:
    autocast = Autocast(torch.float16)
    scores = _meta(torch.float16)
    classes = torch.empty(6, dtype=torch.int64, device="meta")
    with recordings.recording(autocast=autocast) as recorder, autocast.region():
        loss = F.cross_entropy(scores, classes, reduction="none")
    assert loss.dtype is torch.float32
    made = [(a.op, a.nbytes) for a in recordings.allocs(recorder.stream(1))]
    assert made[:3] == [
        ("aten._log_softmax.default", 2 * 36),
        ("aten._to_copy.default", 4 * 36),
        ("aten.nll_loss_forward.default", 4 * 6),
    ]


def test_code_that_switches_autocast_off_runs_in_float32(recordings: Any) -> None:
    autocast = Autocast(torch.float16)
    with recordings.recording(autocast=autocast), autocast.region():
        assert torch.is_autocast_enabled("cuda")
        assert torch.get_autocast_dtype("cuda") is torch.float16
        with torch.autocast("cuda", enabled=False):
            assert (_meta() @ _meta()).dtype is torch.float32
        assert (_meta() @ _meta()).dtype is torch.float16
    assert not torch.is_autocast_enabled("cuda")


def test_outside_the_region_nothing_is_cast(recordings: Any) -> None:
    autocast = Autocast(torch.float16)
    with recordings.recording(autocast=autocast):
        assert (_meta() @ _meta()).dtype is torch.float32


def test_the_region_ends_after_an_error(recordings: Any) -> None:
    autocast = Autocast(torch.float16)
    with pytest.raises(ZeroDivisionError), autocast.region():
        raise ZeroDivisionError
    assert not autocast.is_on()
    assert not torch.is_autocast_enabled("cuda")


# -- the weight cache --------------------------------------------------------------------------


def test_a_weight_is_cast_once_and_its_copy_lives_until_the_region_ends(recordings: Any) -> None:
    layer = nn.Linear(6, 6, bias=False, device="meta")
    autocast = Autocast(torch.float16)
    with recordings.recording(layer, autocast=autocast) as recorder:
        with autocast.region():
            layer(_meta())
            layer(_meta())
            before = recorder.position
        after = recorder.position
    stream = recorder.stream(1)
    casts = [a for a in stream.allocs() if a.op == "aten._to_copy.default"]
    weights = [a for a in casts if before <= stream.freed[a.block] < after]
    assert len(weights) == 1
    assert len(casts) == 3  # the weight, and the input each time


def test_activations_are_cast_each_time(recordings: Any) -> None:
    autocast = Autocast(torch.float16)
    with recordings.recording(autocast=autocast) as recorder, autocast.region():
        data = _meta()
        _ = data @ data
        _ = data @ data
    casts = [a for a in recordings.allocs(recorder.stream(1)) if "_to_copy" in a.op]
    assert len(casts) == 4


# -- memory ------------------------------------------------------------------------------------


class _Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False, device="meta") for _ in range(4)]
        self.layers = nn.Sequential(*layers)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        loss: Tensor = self.layers(batch["x"]).relu().sum()
        return loss


def _kept_bytes(recordings: Any, autocast: str) -> int:
    trace = recordings.steps(
        _Convolutions(), {"x": torch.empty(1, 8, 64, 64, device="meta")}, autocast=autocast
    )
    kept = recordings.allocs(trace.stream, step=2, category=Category.ACTIVATION)
    return sum(a.nbytes for a in kept if a.shape == (1, 8, 64, 64))


@pytest.mark.parametrize("autocast", ["fp16", "bf16"])
def test_activations_between_convolutions_are_half_as_large(recordings: Any, autocast: str) -> None:
    full, half = (_kept_bytes(recordings, mode) for mode in ("off", autocast))
    map_bytes = 4 * 8 * 64 * 64
    assert full == 4 * map_bytes  # three between the layers, and what relu keeps
    assert half == (4 + 1) * map_bytes // 2  # and the cast of the input


def test_gradients_stay_float32(recordings: Any) -> None:
    batch = {"x": torch.empty(1, 8, 64, 64, device="meta")}
    trace = recordings.steps(_Convolutions(), batch, autocast="bf16")
    gradients = recordings.allocs(trace.stream, step=2, category=Category.GRADIENT)
    assert [(a.dtype, a.shape) for a in gradients] == [("float32", (8, 8, 3, 3))] * 4


def test_convolutions_say_the_type_they_run_in(recordings: Any) -> None:
    batch = {"x": torch.empty(1, 8, 64, 64, device="meta")}
    trace = recordings.steps(_Convolutions(), batch, autocast="fp16")
    workspaces = recordings.allocs(trace.stream, step=2, category=Category.WORKSPACE)
    assert {(a.request.dtype, a.request.element_bytes) for a in workspaces} == {("float16", 2)}
