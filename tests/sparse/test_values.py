"""Layers with real features against torch's dense convolutions on the filled grid."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bevdiag.sparse import stub

SHAPE = (7, 8, 9)


def _sparse(channels: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Any:
    random = torch.Generator().manual_seed(seed)
    filled = torch.rand((2, *shape), generator=random) < 0.2
    indices = filled.nonzero().int()
    indices = indices[torch.randperm(len(indices), generator=random)]
    features = torch.randn((len(indices), channels), generator=random)
    return stub.SparseConvTensor(features, indices, shape, 2)


def _dense_weight(layer: Any) -> torch.Tensor:
    """[C_out, *kernel, C_in] to torch's [C_out, C_in, *kernel]."""
    weight: torch.Tensor = layer.weight.detach()
    return weight.movedim(-1, 1)


def _at(dense: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """[B, C, ...cells] at [N, 1 + axes]: [N, C]."""
    return dense.movedim(1, -1)[tuple(indices.long().T)]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        (3, 2, 1, 1),
        (3, (1, 2, 2), (0, 1, 1), 1),
        ((3, 1, 1), (2, 1, 1), 0, 1),
        (3, 1, 2, 2),
        ((1, 2, 3), (3, 2, 1), (0, 1, 1), (1, 2, 1)),
    ],
)
@torch.no_grad()
def test_a_strided_convolution_is_the_dense_one_on_every_cell_it_reaches(
    kernel: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    layer = stub.SparseConv3d(4, 6, kernel, stride, padding, dilation)
    x = _sparse(4)

    y = layer(x)

    dense = F.conv3d(x.dense(), _dense_weight(layer), layer.bias, stride, padding, dilation)
    assert tuple(y.spatial_shape) == tuple(dense.shape[2:])
    torch.testing.assert_close(y.features, _at(dense, y.indices))
    # What is not among the outputs saw no voxel at all: the bias alone is there.
    seen = y.replace_feature(torch.ones(len(y.indices), 1)).dense()
    assert layer.bias is not None
    torch.testing.assert_close((1 - seen) * dense, (1 - seen) * layer.bias.view(-1, 1, 1, 1))


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2), ((1, 3, 5), 1)])
@torch.no_grad()
def test_a_submanifold_convolution_is_the_dense_one_at_the_voxels(
    kernel: Any, dilation: Any
) -> None:
    layer = stub.SubMConv3d(4, 6, kernel, dilation=dilation)
    x = _sparse(4)

    y = layer(x)

    dense = F.conv3d(x.dense(), _dense_weight(layer), layer.bias, padding="same", dilation=dilation)
    torch.testing.assert_close(y.features, _at(dense, x.indices))


@torch.no_grad()
def test_a_chain_that_shares_a_rulebook_and_goes_back_is_the_dense_chain() -> None:
    first = stub.SubMConv2d(3, 5, 3, indice_key="same")
    second = stub.SubMConv2d(5, 5, 3, bias=False, indice_key="same")
    down = stub.SparseConv2d(5, 4, 3, 2, 1, bias=False, indice_key="down")
    back = stub.SparseInverseConv2d(4, 2, 3, indice_key="down", bias=False)
    x = _sparse(3, (10, 11))

    y = second(first(x))
    z = down(y)
    result = back(z)

    one = F.conv2d(x.dense(), _dense_weight(first), first.bias, padding=1)
    one = one * x.replace_feature(torch.ones(len(x.indices), 1)).dense()
    two = F.conv2d(one, _dense_weight(second), padding=1)
    torch.testing.assert_close(y.features, _at(two, x.indices))
    three = F.conv2d(y.dense(), _dense_weight(down), None, 2, 1)
    torch.testing.assert_close(z.features, _at(three, z.indices))
    # The inverse sends each output back to the cells that it came from: a transposed convolution.
    flipped = _dense_weight(back).transpose(0, 1)
    spread = F.conv_transpose2d(z.dense(), flipped, None, 2, 1, output_padding=(1, 0))
    assert torch.equal(result.indices, x.indices)
    torch.testing.assert_close(result.features, _at(spread, x.indices))


@torch.no_grad()
def test_a_sequence_with_a_norm_and_a_sum_has_values() -> None:
    torch.manual_seed(0)
    branch = stub.SparseSequential(
        stub.SubMConv3d(4, 4, 3, bias=False, indice_key="b"),
        torch.nn.BatchNorm1d(4),
        torch.nn.ReLU(),
    )
    x = _sparse(4)

    y = branch(x) + x

    convolved = branch[0](x).features
    expected = F.relu(F.batch_norm(convolved, None, None, training=True)) + x.features
    torch.testing.assert_close(y.features, expected, rtol=1e-4, atol=1e-5)
    assert y.dense().count_nonzero() == y.features.count_nonzero()
