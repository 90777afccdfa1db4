from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.memory.events import Category
from bevdiag.trace.recorder import Recorder
from tests.source.stubs.mmcv_calls import EXT, Held


def test_a_deformable_convolution_holds_one_samples_columns(held: Held) -> None:
    x, weight = torch.empty(2, 8, 10, 12, device="meta"), torch.empty(4, 8, 3, 3, device="meta")
    offset, mask = (torch.empty(2, n, 10, 12, device="meta") for n in (18, 9))
    output, none = torch.empty(2, 4, 10, 12, device="meta"), torch.empty(0, device="meta")
    sizes = held(
        lambda: EXT.modulated_deform_conv_forward(
            x, weight, none, none, offset, mask, output, none, kernel_h=3, kernel_w=3, stride_h=1,
            stride_w=1, pad_h=1, pad_w=1, dilation_h=1, dilation_w=1, group=1, deformable_group=1,
            with_bias=False,
        )
    )  # fmt: skip
    assert 8 * 9 * 10 * 12 * 4 in sizes


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.usefixtures("computes")
def test_a_deformable_convolution_samples_where_its_offsets_say(modulated: bool) -> None:
    random = torch.Generator().manual_seed(0)
    x, weight = (torch.rand(shape, generator=random) for shape in ((2, 4, 6, 7), (6, 2, 3, 3)))
    # One cell down and two to the left, for every tap of every group.
    offset = (
        torch.tensor([1.0, -2.0]).view(1, 1, 2, 1, 1).expand(2, 18, 2, 6, 7).reshape(2, 36, 6, 7)
    )
    moved = torch.zeros_like(x)
    moved[:, :, :5, 2:] = x[:, :, 1:, :5]
    output, none = torch.empty(2, 6, 6, 7), torch.empty(0)
    if modulated:
        EXT.modulated_deform_conv_forward(
            x, weight, torch.ones(6), none, offset, torch.full((2, 18, 6, 7), 0.5), output, none,
            kernel_h=3, kernel_w=3, stride_h=1, stride_w=1, pad_h=1, pad_w=1, dilation_h=1,
            dilation_w=1, group=2, deformable_group=2, with_bias=True,
        )  # fmt: skip
        whole = nn.functional.conv2d(moved, weight / 2, torch.ones(6), padding=1, groups=2)
    else:
        EXT.deform_conv_forward(
            x, weight, offset, output, none, none, kW=3, kH=3, dW=1, dH=1, padW=1, padH=1,
            dilationW=1, dilationH=1, group=2, deformable_group=2, im2col_step=2,
        )  # fmt: skip
        whole = nn.functional.conv2d(moved, weight, None, padding=1, groups=2)
    # At the border the window itself, which is padded, moves over the map.
    torch.testing.assert_close(output[:, :, 1:4, 3:6], whole[:, :, 1:4, 3:6])


def _pairs(coords: Any, shape: tuple[int, ...], submanifold: bool) -> Any:
    ones, axes = [1] * len(shape), len(shape)
    stride = ones if submanifold else [2] * axes
    out = shape if submanifold else tuple((n - 1) // 2 + 1 for n in shape)
    return EXT.get_indice_pairs_3d_forward(
        coords, 1, list(out), list(shape), [3] * axes, stride, ones, ones, [0] * axes,
        int(submanifold), 0,
    )  # fmt: skip


@pytest.mark.parametrize("submanifold", [False, True])
@pytest.mark.usefixtures("computes")
def test_a_sparse_convolution_is_the_dense_one_at_its_voxels(submanifold: bool) -> None:
    random = np.random.default_rng(0)
    shape, channels = (5, 6, 7), (3, 2)
    cells = np.argwhere(random.random(shape) < 0.2)
    coords = torch.from_numpy(np.c_[np.zeros(len(cells)), cells].astype(np.int32))
    features = torch.from_numpy(random.random((len(cells), channels[0]), np.float32))
    filters = torch.from_numpy(random.random((3, 3, 3, *channels), np.float32))
    out, pairs, counts = _pairs(coords, shape, submanifold)
    found = EXT.indice_conv_forward(features, filters, pairs, counts, len(out), 0, int(submanifold))
    dense = torch.zeros(1, channels[0], *shape)
    dense[0, :, cells[:, 0], cells[:, 1], cells[:, 2]] = features.T
    stride = 1 if submanifold else 2
    whole = nn.functional.conv3d(dense, filters.permute(4, 3, 0, 1, 2), None, stride, 1)
    z, y, x = out[:, 1:].long().T
    torch.testing.assert_close(found, whole[0, :, z, y, x].T)
    assert submanifold or len(out) == int((whole[0, 0] > 0).sum())


def test_indice_pairs_hold_a_dense_table_and_room_for_every_offset(
    held: Held, recorder: Recorder
) -> None:
    coords = torch.tensor([[0, 1, 1, 1], [0, 3, 4, 5]], dtype=torch.int32)
    recorder.adopt(coords, Category.INPUT, "", "test")
    sizes = held(lambda: _pairs(coords, (5, 6, 7), submanifold=False))
    table, room = 3 * 3 * 4 * 4, 2 * 27 * 4 * 4
    assert table in sizes
    assert room in sizes
