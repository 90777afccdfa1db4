import numpy as np
import pytest
import torch

from bevdiag.sparse.tensor import SparseConvTensor

from .allocations import Allocations

INDICES = torch.tensor([[0, 0, 1, 2], [1, 3, 2, 1], [1, 0, 0, 0]], dtype=torch.int32)
SHAPE = [4, 3, 5]


def _tensor(device: str = "cpu") -> SparseConvTensor:
    features = torch.arange(6.0, requires_grad=True).reshape(3, 2).to(device)
    return SparseConvTensor(features, INDICES, np.array(SHAPE), 2)


def test_dense_puts_each_voxel_in_its_cell() -> None:
    x = _tensor()

    dense = x.dense()

    assert dense.shape == (2, 2, 4, 3, 5)
    assert dense.is_contiguous()
    assert dense[1, :, 3, 2, 1].tolist() == [2.0, 3.0]
    assert dense.count_nonzero() == 5
    torch.testing.assert_close(x.dense(channels_first=False), dense.movedim(1, -1))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("outside", "words"),
    [([0, 4, 0, 0], "axis 0 run from 0 to 4, but .* ends at 3"), ([2, 0, 0, 0], "the batch has 2")],
)
def test_a_voxel_outside_has_no_cell(device: str, outside: list[int], words: str) -> None:
    # On a GPU writing it stops the process, so a step on meta tensors may not go on.
    indices = torch.tensor([[0, 0, 0, 0], outside], dtype=torch.int32)
    with pytest.raises(ValueError, match=words):
        SparseConvTensor(torch.ones(2, 2, device=device), indices, SHAPE, 2).dense()


def test_dense_hands_gradients_back_to_the_voxels() -> None:
    features = torch.ones(3, 2, requires_grad=True)
    dense = SparseConvTensor(features, INDICES, SHAPE, 2).dense()

    (dense * torch.arange(dense.numel()).reshape(dense.shape)).sum().backward()

    weights = torch.arange(dense.numel()).reshape(dense.shape).movedim(1, -1)
    torch.testing.assert_close(features.grad, weights[tuple(INDICES.long().T)].float())


def test_dense_is_made_twice_and_kept_once() -> None:
    x = SparseConvTensor(torch.empty(3, 2, device="meta"), INDICES, SHAPE, 2)
    volume = 4 * 2 * 2 * 60
    with Allocations().ignore(x.features, x.indices) as seen:
        dense = x.dense()
        assert [nbytes for nbytes, _ in seen.made] == [32 * 3, volume, volume]
        assert seen.alive == volume
        assert seen.peak == 2 * volume
    assert dense.is_meta


def test_dense_keeps_its_cells_for_backward() -> None:
    x = SparseConvTensor(torch.empty(3, 2, device="meta", requires_grad=True), INDICES, SHAPE, 2)
    volume = 4 * 2 * 2 * 60
    with Allocations().ignore(x.features, x.indices) as seen:
        dense = x.dense()
        assert seen.alive == 32 * 3 + volume
        assert seen.peak == 32 * 3 + 2 * volume
    assert dense.requires_grad


def test_derived_tensors_share_rulebooks_and_coordinates() -> None:
    x = _tensor()
    other = x.replace_feature(x.features * 2)

    assert other.indices is x.indices
    assert other.indice_dict is x.indice_dict
    assert x.shadow_copy().features is x.features
    torch.testing.assert_close(x.minus().features, -x.features)
    torch.testing.assert_close((x + other).features, x.features * 3)
    assert x.spatial_size == 60
    assert x.find_indice_pair(None) is None
    assert x.find_indice_pair("a") is None


def test_selected_voxels_lose_their_rulebooks() -> None:
    x = _tensor()
    x.indice_dict["a"] = object()

    picked = x.select_by_index(torch.tensor([True, False, True]))

    assert picked.indices.tolist() == [INDICES[0].tolist(), INDICES[2].tolist()]
    assert picked.features.shape == (2, 2)
    assert not picked.indice_dict


def test_unfit_parts_are_refused() -> None:
    features = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="int32"):
        SparseConvTensor(features, INDICES.long(), SHAPE, 1)
    with pytest.raises(ValueError, match="must hold values"):
        SparseConvTensor(features, INDICES.to("meta"), SHAPE, 1)
    with pytest.raises(ValueError, match="does not fit"):
        SparseConvTensor(features, INDICES, [4, 3], 1)
    with pytest.raises(ValueError, match="matrices"):
        SparseConvTensor(features[0], INDICES, SHAPE, 1)
    with pytest.raises(ValueError, match="replace_feature"):
        _tensor().features = features
