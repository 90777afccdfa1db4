"""The packed VFE against the padded one."""

import numpy as np
import pytest
import torch

from bevdiag.models.vfe.sda_vfe import PackedVoxels, SdaVfe, packed_voxel_features


def packed(batch):
    count = batch["voxel_num_points"].long()
    filled = torch.arange(batch["voxels"].shape[1]) < count[:, None]
    return PackedVoxels(batch["voxels"][filled], count, batch["voxel_coords"], filled.shape[1])


@pytest.mark.parametrize("overrides", [{}, {"use_norm": False}, {"use_abslote_xyz": False}])
def test_one_weighted_row_stands_for_all_padding(small, overrides):
    torch.manual_seed(0)
    settings = small.model().vfe.model_copy(update=overrides)
    vfe = SdaVfe(settings, 4)
    for parameter in vfe.parameters():
        torch.nn.init.normal_(parameter)
    batch = small.batch()
    assert set(np.unique(batch["voxel_num_points"])) == {1, 2, 3, 4}

    expected = vfe(dict(batch))["voxel_features"]

    assert torch.allclose(packed_voxel_features(vfe, packed(batch)), expected, rtol=1e-4, atol=1e-4)


def test_padding_moves_the_statistics(small):
    torch.manual_seed(0)
    vfe = SdaVfe(small.model().vfe, 4)
    batch = small.batch()
    few = packed(batch)
    more = PackedVoxels(few.points, few.num_points, few.coords, 2 * few.max_points)
    assert not torch.allclose(packed_voxel_features(vfe, few), packed_voxel_features(vfe, more))
