"""Values against dense convolutions; bytes and lifetimes against spconv's allocations."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bevdiag.memory.events import Category
from bevdiag.sparse import stub

from .allocations import Allocations

SHAPE = (6, 7, 8)


def _indices(num: int = 80, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, size, num) for size in (2, *shape)]
    return torch.from_numpy(np.unique(np.stack(columns, axis=1), axis=0).astype(np.int32))


def _at(dense: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    return dense.movedim(1, -1)[tuple(indices.long().T)]


def _real(channels: int = 4) -> stub.SparseConvTensor:
    indices = _indices()
    torch.manual_seed(0)
    features = torch.randn(len(indices), channels, dtype=torch.float64, requires_grad=True)
    return stub.SparseConvTensor(features, indices, SHAPE, 2)


def _meta(channels: int = 16, num: int = 500) -> stub.SparseConvTensor:
    indices = _indices(num, (10, 40, 40))
    features = torch.empty(len(indices), channels, device="meta")
    return stub.SparseConvTensor(features, indices, (10, 40, 40), 2)


def _check_against_dense(
    layer: stub.SparseConvolution, x: stub.SparseConvTensor, dense_result: torch.Tensor
) -> None:
    out = layer(x)
    expected = _at(dense_result, out.indices)
    torch.testing.assert_close(out.features, expected)
    scale = torch.randn_like(expected)
    variables = [x.features, *layer.parameters()]
    ours = torch.autograd.grad((out.features * scale).sum(), variables)
    theirs = torch.autograd.grad((expected * scale).sum(), variables)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("kernel", [3, (1, 3, 5), 5])
@pytest.mark.parametrize("training", [True, False])
def test_submanifold_values(kernel, training: bool) -> None:
    layer = stub.SubMConv3d(4, 3, kernel).double().train(training)
    x = _real()
    padding = [size // 2 for size in layer.kernel_size]

    dense = F.conv3d(x.dense(), layer.weight.movedim(-1, 1), layer.bias, padding=padding)

    _check_against_dense(layer, x, dense)


def test_four_axes_go_down_and_back() -> None:
    cells = torch.tensor([[0, 0, 1, 2, 3], [0, 1, 1, 0, 0], [0, 3, 2, 1, 2]], dtype=torch.int32)
    x = stub.SparseConvTensor(torch.rand(3, 2), cells, [4, 4, 4, 4], 1)
    down = stub.SparseConv4d(2, 5, 3, 2, 1, indice_key="down")(x)
    back = stub.SparseInverseConv4d(5, 3, 3, "down")(down)
    assert down.spatial_shape == [2, 2, 2, 2]
    assert back.indices is x.indices
    assert back.features.shape == (3, 3)
    up = stub.SparseConvTranspose4d(5, 3, 2, 2)(down)
    assert up.spatial_shape == [4, 4, 4, 4]
    assert len(up.indices) == 2**4 * len(down.indices)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(2, 1, 1), (1, 0, 1), (2, 2, 2)])
def test_strided_values(stride: int, padding: int, dilation: int) -> None:
    layer = stub.SparseConv3d(4, 3, 3, stride, padding, dilation).double()
    x = _real()

    dense = F.conv3d(x.dense(), layer.weight.movedim(-1, 1), layer.bias, stride, padding, dilation)

    _check_against_dense(layer, x, dense)


def test_transposed_values() -> None:
    layer = stub.SparseConvTranspose3d(4, 3, 3, 2, 1).double()
    x = _real()

    weight = layer.weight.movedim(-1, 0).movedim(1, 1)
    dense = F.conv_transpose3d(x.dense(), weight, layer.bias, 2, 1)

    _check_against_dense(layer, x, dense)


def test_inverse_values() -> None:
    down = stub.SparseConv3d(4, 4, 3, 2, 1, indice_key="down").double()
    layer = stub.SparseInverseConv3d(4, 3, 3, "down").double()
    x = _real()
    middle = down(x)

    out = layer(middle)
    weight = layer.weight.movedim(-1, 0)
    size = [n - ((n + 2 - 3) // 2 * 2 + 1) for n in SHAPE]
    dense = F.conv_transpose3d(middle.dense(), weight, layer.bias, 2, 1, size)

    assert out.indices is x.indices
    assert out.spatial_shape == list(SHAPE)
    torch.testing.assert_close(out.features, _at(dense, out.indices))


def test_max_pool_values_and_ties() -> None:
    x = _real()
    x = x.replace_feature(x.features.abs())
    out = stub.SparseMaxPool3d(3, 2, 1)(x)

    expected = _at(F.max_pool3d(x.dense(), 3, 2, 1), out.indices)

    torch.testing.assert_close(out.features, expected)


def test_the_implicit_gemm_keeps_what_backward_reads() -> None:
    x = _meta()
    layer = stub.SubMConv3d(16, 32, 3, bias=False, indice_key="a", device="meta")
    layer(x)
    first = layer(x)
    n = len(x.indices)

    with Allocations().ignore(x.features, x.indices, layer.weight) as seen:
        for tensor in first.indice_dict["a"].tables.fwd_order:
            seen.ignore(tensor)
        out = layer(
            stub.SparseConvTensor(
                x.features, x.indices, x.spatial_shape, 2, indice_dict=first.indice_dict
            )
        )
        mask_out = 4 * -(-n // 32)
        assert [nbytes for nbytes, _ in seen.made] == [4 * n * 32, mask_out]

        seen.made.clear()
        # Kept out of what is counted: the gradient that comes from the layer after.
        gradient = torch.empty_like(out.features)
        seen.made.clear()
        out.features.backward(gradient)

        flags = 4 * 1 * (27 * 16 // 32 + 1)
        assert [nbytes for nbytes, _ in seen.made] == [4 * n * 16, 4 * 27 * 16 * 32, flags]
        assert seen.of(Category.WORKSPACE) == [flags]


def test_tables_die_with_the_graph_and_the_tensor() -> None:
    x = _meta()
    layer = stub.SparseConv3d(16, 32, 3, 2, 1, bias=False, device="meta")
    with Allocations().ignore(x.features, x.indices, layer.weight) as seen:
        out = layer(x)
        n, m = len(x.indices), len(out.indices)
        features, mask_out = 4 * m * 32, 4 * -(-m // 32)
        assert seen.alive == 116 * n + 132 * m + features + mask_out

        out.features.sum().backward()
        layer.weight.grad = None
        # Backward lets go of the saved pair tables; masks and orders stay with the graph.
        assert seen.alive == 16 * m + 8 * (n + m) + features + mask_out
        del out
        assert seen.alive == 0


def test_autocast_makes_half_copies_of_features_and_weight() -> None:
    x = _meta()
    layer = stub.SparseConv3d(16, 32, 3, 2, 1, bias=False, device="meta")
    before = torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", True)
    try:
        with Allocations().ignore(x.features, x.indices, layer.weight) as seen:
            out = layer(x)
            made = [nbytes for nbytes, category in seen.made if category is None]
    finally:
        torch.set_autocast_enabled("cuda", before)

    assert out.features.dtype is torch.float16
    assert made == [2 * len(x.indices) * 16, 2 * layer.weight.numel(), 2 * len(out.indices) * 32]
    out.features.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype is torch.float32


def test_the_native_algorithm_multiplies_the_centre_by_itself() -> None:
    x = _meta()
    layer = stub.SubMConv3d(16, 32, 5, bias=False, device="meta")
    assert layer.algo is stub.ConvAlgo.Native
    with Allocations().ignore(x.features, x.indices, layer.weight) as seen:
        out = layer(x)
        n = len(x.indices)
        assert [nbytes for nbytes, category in seen.made if category is None] == [4 * n * 32]
        out.features.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.shape == layer.weight.shape


@pytest.mark.parametrize("kernel", [3, 5])
def test_eval_makes_no_mask_and_no_gradient_tables(kernel: int) -> None:
    x = _meta()
    layer = stub.SparseConv3d(16, 32, kernel, 2, 1, device="meta").eval()
    with torch.no_grad():
        out = layer(x)

    assert out.features.shape == (len(out.indices), 32)
    assert not out.features.requires_grad


def test_max_pool_on_meta_saves_its_input_and_output() -> None:
    x = _meta()
    x = x.replace_feature(x.features.requires_grad_())
    out = stub.SparseMaxPool3d(3, 2, 1)(x)

    out.features.sum().backward()

    assert out.features.shape == (len(out.indices), 16)
    assert x.features.grad is not None
    assert x.features.grad.shape == x.features.shape
