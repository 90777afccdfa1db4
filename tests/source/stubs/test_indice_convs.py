from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.memory.events import Category
from bevdiag.trace.recorder import Recorder
from tests.source.stubs.mmcv_calls import EXT, Held


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
