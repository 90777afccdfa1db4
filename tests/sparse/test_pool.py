import pytest
import torch

from bevdiag.sparse import stub

INDICES = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 5, 5]], dtype=torch.int32)


def _tensor() -> stub.SparseConvTensor:
    features = torch.tensor([[1.0], [2.0], [-3.0]], requires_grad=True)
    return stub.SparseConvTensor(features, INDICES, [8, 8], 1)


def test_a_stride_left_out_is_the_kernels() -> None:
    pool = stub.SparseMaxPool2d(2)

    assert pool.stride == [2, 2]
    assert pool.algo is stub.ConvAlgo.MaskImplicitGemm
    assert stub.SparseMaxPool3d(6).algo is stub.ConvAlgo.Native


def test_maxima_start_from_zero_and_gradients_go_to_the_winner() -> None:
    x = _tensor()
    out = stub.SparseMaxPool2d(2)(x)
    out.features.sum().backward()

    assert out.indices.tolist() == [[0, 0, 1], [0, 2, 2]]
    assert out.spatial_shape == [4, 4]
    assert out.features.tolist() == [[2.0], [0.0]]
    assert x.features.grad is not None
    assert x.features.grad.tolist() == [[0.0], [1.0], [0.0]]


def test_an_indice_key_is_made_once_and_can_be_inverted() -> None:
    out = stub.SparseMaxPool2d(2, indice_key="pool")(_tensor())
    back = stub.SparseInverseConv2d(1, 1, 2, "pool")(out)

    assert back.indices is INDICES
    with pytest.raises(ValueError, match="exists already"):
        stub.SparseMaxPool2d(2, indice_key="pool")(out)
