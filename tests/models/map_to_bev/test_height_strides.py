"""The convolutions that bring the height down."""

import math

import pytest
import torch

from bevdiag.models.interfaces import SparseVolume
from bevdiag.models.map_to_bev.height_strides import HeightStrides
from bevdiag.sparse import namespace

CHANNELS = 4


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
    assert strides.volume == SparseVolume(CHANNELS, (expected, 2, 3))
    assert result.spatial_shape == [expected, 2, 3]
    assert {z for _, z, _, _ in result.indices.tolist()} == set(range(expected))


def test_parameters_are_a_kernel_along_the_height_and_a_norm_for_each_stride(small):
    bev = {"NAME": "HeightCompression", "NUM_BEV_FEATURES": 128, "HEIGHT_STRIDES": [2, 5]}
    model = small.build(small.model(bev=bev), "meta")

    parameters = sum(p.numel() for p in model.map_to_bev_module.parameters())
    assert parameters == sum(128 * 128 * stride + 2 * 128 for stride in (2, 5))
    assert model.check_channels() == 128


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
