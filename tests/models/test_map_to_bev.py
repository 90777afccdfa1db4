"""Reductions on the sparse tensor against the same ones on the dense tensor."""

import math

import numpy as np
import pytest
import torch

from bevdiag.config.bev_settings import SparseHeightCompressionSettings
from bevdiag.models.interfaces import SparseVolume
from bevdiag.models.map_to_bev import HeightStrides, SparseHeightCompression
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


def full_column(depth):
    """Two samples with one column each that is full from the lowest to the highest level."""
    levels = torch.arange(depth, dtype=torch.int32)
    samples = [
        torch.stack([levels * 0 + sample, levels, levels * 0 + 1, levels * 0], dim=1)
        for sample in range(2)
    ]
    features = torch.randn(2 * depth, CHANNELS)
    return namespace("cpu").SparseConvTensor(features, torch.cat(samples), [depth, 2, 3], 2)


@pytest.mark.parametrize("depth", range(1, 12))
@pytest.mark.parametrize("stride", [1, 2, 3, 5, 7])
def test_a_stride_divides_the_height_rounding_up_and_drops_no_level(depth, stride):
    volume = SparseVolume(CHANNELS, (depth, 2, 3))
    strides = HeightStrides([stride], volume, spconv=namespace("cpu"))
    result = strides(full_column(depth))

    expected = math.ceil(depth / stride)
    assert result.spatial_shape == [expected, 2, 3]
    assert {z for _, z, _, _ in result.indices.tolist()} == set(range(expected))


def test_parameters_are_a_kernel_along_the_height_and_a_norm_for_each_stride(small):
    bev = {"NAME": "HeightCompression", "NUM_BEV_FEATURES": 128, "HEIGHT_STRIDES": [2, 5]}
    model = small.build(small.model(bev=bev), "meta")

    parameters = sum(p.numel() for p in model.map_to_bev_module.parameters())
    assert parameters == sum(128 * 128 * stride + 2 * 128 for stride in (2, 5))
    assert model.backbone_2d.blocks[0][1].in_channels == 128


def test_a_reduction_follows_the_strides(small):
    bev = {
        "NAME": "SparseHeightCompression",
        "MODE": "learned",
        "NUM_BEV_FEATURES": 64,
        "INPUT_FEATURES": 128 * 4,
        "HEIGHT_STRIDES": [3],
    }
    model = small.build(small.model(bev=bev))
    batch = small.batch()
    model(batch).backward()

    assert batch["spatial_features"].shape[1] == 64
    assert all(p.grad is not None for p in model.map_to_bev_module.parameters())
