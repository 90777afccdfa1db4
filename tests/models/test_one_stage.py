import pytest
import torch

from bevdiag.config.model_settings import ModelSettings
from bevdiag.errors import ConfigError
from bevdiag.models.interfaces import sparse_volume
from tests.models.one_stage_configs import (
    COARSE,
    FLAT,
    MODELS,
    PILLARS,
    SCATTER,
    anchor_head,
    backbone_2d,
    build,
    data_settings,
    dsvt,
    prepare,
    scene,
    tensors,
)


def without_gradient(detector):
    return {name for name, parameter in detector.named_parameters() if parameter.grad is None}


@pytest.mark.parametrize("name", MODELS)
def test_a_run_without_values_has_the_shapes_of_one_with_values(small, name):
    settings, data, batch = prepare(name)
    real, real_batch = build(settings, data, "cpu"), tensors(batch, "cpu")
    loss = real(real_batch)
    loss.backward()
    assert torch.isfinite(loss)
    volume, sparse = sparse_volume(settings, data), real_batch.get("encoded_spconv_tensor")
    if volume is not None:
        assert list(volume.spatial_shape) == sparse.spatial_shape
        assert volume.channels == sparse.features.shape[1]

    meta, meta_batch = build(settings, data, "meta"), tensors(batch, "meta")
    with small.mixed_devices():
        meta(meta_batch).backward()

    compared = {"voxel_features", "pillar_features", "spatial_features", "spatial_features_2d"}
    for key in compared & set(real_batch):
        assert meta_batch[key].is_meta
        assert meta_batch[key].shape == real_batch[key].shape
    assert torch.equal(meta_batch["voxel_coords"], real_batch["voxel_coords"])
    assert without_gradient(meta) == without_gradient(real)


@pytest.mark.parametrize(
    ("grid", "changes", "message"),
    [
        (COARSE, {"MAP_TO_BEV": SCATTER}, "PointPillarScatter takes pillars"),
        (PILLARS, {"MAP_TO_BEV": FLAT}, "HeightCompression flattens a sparse tensor"),
        (PILLARS, {"BACKBONE_3D": dsvt([32, 32, 1], [])}, "DSVT reads 16 channels"),
    ],
)
def test_modules_that_do_not_fit_together_are_refused(grid, changes, message):
    _, sections = MODELS["dynamic pillars"]
    vfe = {**sections["VFE"], "NUM_FILTERS": [8, 24]}
    settings = ModelSettings.model_validate({**sections, "VFE": vfe, **changes})
    with pytest.raises(ConfigError, match=message):
        build(settings, data_settings(grid, is_dynamic=True), "meta")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DENSE_HEAD": anchor_head(4)}, "feature_map_stride 4 are for a map of 8 x 8"),
        ({"BACKBONE_2D": backbone_2d(strides=(1, 2), ups=(1, 1))}, "cannot be concatenated"),
    ],
)
def test_maps_that_do_not_meet_are_refused(changes, message):
    grid, sections = MODELS["pointpillar"]
    settings = ModelSettings.model_validate({**sections, **changes})
    data = data_settings(grid, is_dynamic=False)
    with pytest.raises(ConfigError, match=message):
        build(settings, data, "cpu")(tensors(scene(data, settings), "cpu"))
