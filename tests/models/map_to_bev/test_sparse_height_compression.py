"""Reductions on the sparse tensor against the same ones on the dense tensor."""

import numpy as np
import pytest
import torch

from bevdiag.config.settings import SparseHeightCompressionSettings
from bevdiag.models.interfaces import SparseVolume
from bevdiag.models.map_to_bev.sparse_height_compression import SparseHeightCompression
from bevdiag.sparse import namespace

DEPTH, HEIGHT, WIDTH, CHANNELS = 3, 4, 5, 6


def compress(mode, sparse):
    settings = SparseHeightCompressionSettings(
        name="SparseHeightCompression", num_bev_features=CHANNELS, mode=mode
    )
    batch = {"encoded_spconv_tensor": sparse, "encoded_spconv_tensor_stride": 1}
    volume = SparseVolume(CHANNELS, (DEPTH, HEIGHT, WIDTH))
    module = SparseHeightCompression(settings, volume, spconv=namespace("cpu"))
    return module(batch)["spatial_features"]


@pytest.fixture
def sparse():
    """Voxels of negative and positive features; one column is full, others are not."""
    rng = np.random.default_rng(0)
    cells = rng.choice(2 * DEPTH * HEIGHT * WIDTH, 40, replace=False)
    coords = np.stack(np.unravel_index(cells, (2, DEPTH, HEIGHT, WIDTH)), axis=1)
    full = [(1, z, 2, 3) for z in range(DEPTH)]
    coords = np.unique(np.concatenate((coords, full)), axis=0).astype(np.int32)
    features = torch.from_numpy(rng.normal(-0.5, 1, (len(coords), CHANNELS))).float()
    return namespace("cpu").SparseConvTensor(
        features.requires_grad_(), torch.from_numpy(coords), [DEPTH, HEIGHT, WIDTH], 2
    )


@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_the_map_and_its_gradient_are_those_of_the_dense_reduction(sparse, reduction):
    dense, direct = compress(reduction, sparse), compress(f"sparse_{reduction}", sparse)
    assert direct.is_contiguous()
    assert torch.allclose(direct, dense, atol=1e-6)
    weight = torch.randn_like(dense)
    expected = torch.autograd.grad((dense * weight).sum(), sparse.features)[0]
    found = torch.autograd.grad((direct * weight).sum(), sparse.features)[0]
    assert torch.allclose(found, expected, atol=1e-6)


def test_empty_cells_are_the_floor_of_all_but_full_columns(sparse):
    result = compress("sparse_max", sparse)
    assert (result[1, :, 2, 3] < 0).any()
    column, voxels = torch.unique(sparse.indices[:, [0, 2, 3]].long(), dim=0, return_counts=True)
    sample, y, x = column[voxels == DEPTH].T
    result[sample, :, y, x] = 0
    assert (result >= 0).all()


def test_the_sum_leaves_the_depth_out(sparse):
    assert torch.allclose(
        compress("sparse_sum", sparse), DEPTH * compress("sparse_mean", sparse), atol=1e-5
    )


def test_none_flattens_channel_by_channel(sparse):
    flat = compress("none", sparse)
    assert flat.shape == (2, CHANNELS * DEPTH, HEIGHT, WIDTH)
    assert torch.equal(flat[:, 1], sparse.dense()[:, 0, 1])
