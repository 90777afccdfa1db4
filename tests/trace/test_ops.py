from typing import Any

import pytest
import torch
from torch import Tensor

from bevdiag.memory.events import Category, Phase
from bevdiag.memory.requests import GemmWorkspace, StridedReduction
from bevdiag.models import sized_ops
from bevdiag.trace.unknown_values import DataDependenceError


def _meta(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")


def test_a_scalar_read_from_features_is_asked_for_once_it_matters(recordings: Any) -> None:
    with recordings.recording():
        loss = _meta(3).sum().item()
        assert f"{loss * 2:.1f}"
        with pytest.raises(DataDependenceError, match="number read from features"):
            bool(loss < 3)
        with pytest.raises(DataDependenceError):
            int(torch.empty((), dtype=torch.int64, device="meta"))


def test_a_scalar_read_from_coordinates_is_itself(recordings: Any) -> None:
    coords = torch.arange(9)
    with recordings.recording() as recorder:
        recorder.adopt(coords, Category.INPUT, "", "batch")
        assert coords.max().item() == 8
        assert recorder.notes == []


def test_sort_asks_for_the_buffers_of_a_radix_sort_and_lets_them_go(recordings: Any) -> None:
    keys = torch.arange(100, dtype=torch.int32)
    with recordings.recording() as recorder:
        recorder.adopt(keys, Category.INPUT, "", "batch")
        values, order = keys.sort(descending=True)
        rows = recordings.allocs(recorder.stream(1))[1:]
        alive = recordings.alive_after(recorder.stream(1))
    assert values[0] == 99
    assert order[0] == 99
    assert [(a.nbytes, a.category) for a in rows[2:]] == [
        (800, Category.TEMPORARY),
        (1200, Category.TEMPORARY),
    ]
    assert sorted(a.nbytes for a in alive.values()) == [400, 400, 800]


def test_a_host_sort_asks_for_nothing(recordings: Any) -> None:
    with recordings.recording() as recorder:
        torch.arange(100).sort()
    assert recordings.allocs(recorder.stream(1)) == []


def test_the_result_of_unique_keeps_the_storage_of_its_input(recordings: Any) -> None:
    keys = torch.arange(100) % 7
    with recordings.recording() as recorder:
        recorder.adopt(keys, Category.INPUT, "", "batch")
        unique, inverse = torch.unique(keys, return_inverse=True)
        alive = [a.nbytes for a in recordings.alive_after(recorder.stream(1)).values()]
    assert unique.tolist() == list(range(7))
    assert len(inverse) == 100
    assert sorted(alive) == [800, 800, 800]  # the keys, the inverse, and 100 places for 7 values


def test_unique_of_a_known_count_is_recorded_as_the_real_one(recordings: Any) -> None:
    keys = torch.arange(100) % 7

    def sizes(values: Tensor, size: int | None) -> list[int]:
        with recordings.recording() as recorder:
            recorder.adopt(values, Category.INPUT, "", "batch")
            unique, inverse = sized_ops.unique_with_inverse(values, size)
        assert (len(unique), len(inverse)) == (7, 100)
        return sorted(a.nbytes for a in recordings.allocs(recorder.stream(1)))

    # PyTorch's own makes the counts too, of no elements where no one asks for them.
    assert sizes(keys.to("meta"), 7) == sizes(keys, None)


def test_a_sum_in_the_forward_pass_is_a_new_tensor(recordings: Any) -> None:
    with recordings.recording() as recorder:
        _ = _meta(10) + _meta(10)
    assert len(recordings.allocs(recorder.stream(1), op="aten.add.Tensor")) == 1


def test_a_sum_without_gradients_in_the_backward_phase_is_one_too(recordings: Any) -> None:
    with recordings.recording() as recorder, torch.no_grad():
        recorder.mark(1, Phase.BACKWARD)
        _ = _meta(10) + _meta(10)
    assert len(recordings.allocs(recorder.stream(1), op="aten.add.Tensor")) == 1


@pytest.mark.parametrize(
    "product",
    [
        lambda: _meta(3, 4) @ _meta(4, 5),
        lambda: torch.addmm(_meta(5), _meta(3, 4), _meta(4, 5)),
        lambda: torch.bmm(_meta(2, 3, 4), _meta(2, 4, 5)),
        lambda: torch.baddbmm(_meta(2, 3, 5), _meta(2, 3, 4), _meta(2, 4, 5)),
    ],
    ids=["mm", "addmm", "bmm", "baddbmm"],
)
def test_a_matrix_product_needs_a_cublas_workspace_once(recordings: Any, product: Any) -> None:
    with recordings.recording() as recorder:
        product()
        product()
    workspaces = recordings.allocs(recorder.stream(1), category=Category.WORKSPACE)
    assert workspaces[0].request == GemmWorkspace("main")
    # cuBLASLt's, for the bias of addmm.
    assert [a.nbytes for a in workspaces[1:]] in ([], [2**20])


def test_rolling_two_axes_takes_a_tensor_between(recordings: Any) -> None:
    data = _meta(4, 8, 8, 16)
    with recordings.recording() as recorder:
        _ = torch.roll(data, (1, 2), (1, 2)), torch.roll(data, 1, 1)
    sizes = [a.nbytes for a in recordings.allocs(recorder.stream(1), op="aten.roll.default")]
    assert sizes == [4 * data.numel()] * 3


def test_an_embedding_with_many_indices_sorts_them(recordings: Any) -> None:
    table = torch.empty(100, 8, device="meta", requires_grad=True)
    with recordings.recording() as recorder:
        for count in (3000, 4096):
            out = torch.nn.functional.embedding(
                torch.empty(count, dtype=torch.int64, device="meta"), table
            )
            recorder.mark(1, Phase.BACKWARD)
            torch.autograd.grad(out, table, torch.empty_like(out))
    made = recordings.allocs(recorder.stream(1), op="aten.embedding_dense_backward.default")
    sizes = [a.nbytes for a in made]
    assert sizes[0] == sizes[-3] == 3200
    assert sizes[-2:] == [8 * (4096 + 409), 4 * 8 * (4096 + 409)]


def test_a_product_on_the_host_needs_none(recordings: Any) -> None:
    with recordings.recording() as recorder:
        _ = torch.ones(3, 4) @ torch.ones(4, 5)
    assert recordings.allocs(recorder.stream(1)) == []


def test_pooling_copies_what_is_strided(recordings: Any) -> None:
    data = _meta(6, 4, 8, 2).permute(3, 2, 1, 0).requires_grad_()
    with recordings.recording() as recorder:
        pooled = torch.nn.functional.max_pool2d(data, 2)
        recorder.mark(1, Phase.BACKWARD)
        torch.autograd.backward(pooled, _meta(1, 1, 1, 1).expand(2, 8, 2, 3))
    copies = [a for a in recordings.allocs(recorder.stream(1)) if a.op == "aten.contiguous"]
    of_input, of_gradient = 2 * 8 * 4 * 6 * 4, 2 * 8 * 2 * 3 * 4
    assert [copy.nbytes for copy in copies] == [of_input, of_gradient, of_input]


@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax])
def test_softmax_copies_what_is_strided(recordings: Any, function: Any) -> None:
    dense = _meta(4, 6)
    with recordings.recording() as recorder:
        function(dense, 1)
        function(dense.t(), 1)
    made = [a.op for a in recordings.allocs(recorder.stream(1)) if "softmax" in a.op]
    assert len(made) == 3


def test_masks_and_narrow_integers_are_widened_before_they_are_summed(recordings: Any) -> None:
    mask = torch.ones(40, dtype=torch.bool)
    with recordings.recording() as recorder:
        recorder.adopt(mask, Category.INPUT, "", "batch")
        mask.sum()
        mask.cumsum(0)
        mask.to(torch.int64).sum()
        mask.to(torch.float32).sum()
    sizes = [a.nbytes for a in recordings.allocs(recorder.stream(1))]
    assert sizes == [40, 8, 320, 320, 320, 320, 8, 160, 4]


def test_dropout_makes_its_mask_first(recordings: Any) -> None:
    with recordings.recording() as recorder:
        torch.nn.functional.dropout(_meta(100, 8), 0.5)
    mask, result = recordings.allocs(recorder.stream(1))[-2:]
    assert (mask.nbytes, result.nbytes) == (100 * 8, 100 * 8 * 4)


def test_comparisons_that_no_value_changes_are_decided(recordings: Any) -> None:
    features = _meta(20)
    with recordings.recording():
        assert not torch.isnan(features).any()
        assert torch.isfinite(features).all()
        assert not (features > 0).sum() < 0
        assert (features > 0).sum() <= 20
        with pytest.raises(DataDependenceError):
            bool((features > 0).sum() <= 0)
        with pytest.raises(DataDependenceError):
            bool(features.sum() == 0)


@pytest.mark.parametrize("is_strided", [True, False])
def test_a_strided_batch_norm_reduces_through_a_buffer(recordings: Any, is_strided: bool) -> None:
    data = _meta(500, 32, 64).transpose(1, 2) if is_strided else _meta(500, 64, 32)
    weight, bias, mean, var = (_meta(64) for _ in range(4))
    with recordings.recording() as recorder:
        torch.batch_norm(data, weight, bias, mean, var, True, 0.1, 1e-3, False)
    requests = [a.request for a in recordings.allocs(recorder.stream(1)) if a.request]
    assert requests == [StridedReduction(64, 500 * 32, 16)] * is_strided


@pytest.mark.parametrize("is_strided", [True, False])
def test_the_gradient_of_a_strided_batch_norm_is_dense(recordings: Any, is_strided: bool) -> None:
    data = _meta(500, 32, 64).requires_grad_() * 2
    data = data.transpose(1, 2) if is_strided else data
    grads: list[torch.Tensor] = []
    data.register_hook(grads.append)
    channels = data.shape[1]
    weight, bias, mean, var = (_meta(channels) for _ in range(4))
    with recordings.recording():
        out = torch.batch_norm(data, weight, bias, mean, var, True, 0.1, 1e-3, False)
        torch.autograd.backward(out, torch.empty_like(out))
    assert data.is_contiguous() is not is_strided
    assert grads[0].is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_batch_norm_of_the_input_makes_no_gradient_of_it(
    recordings: Any, dtype: torch.dtype
) -> None:
    data = torch.empty(40, 8, dtype=dtype, device="meta")
    weight, bias = (torch.empty(8, device="meta", requires_grad=True) for _ in range(2))
    with recordings.recording() as recorder:
        recorder.adopt(data, Category.INPUT, "", "batch")
        out = torch.batch_norm(data, weight, bias, None, None, True, 0.1, 1e-3, False)
        torch.autograd.backward(out, torch.empty_like(out))
        made = [a for a in recordings.allocs(recorder.stream(1)) if "norm_backward" in a.op]
    assert [a.shape for a in made] == [(8,), (8,)]
