"""The detector as a whole: its size, and that it trains with values and without."""

import numpy as np
import pytest
import torch

from bevdiag.errors import ConfigError
from bevdiag.models.backbones_3d.focal_growth import FocalDecision, count
from bevdiag.models.interfaces import ChannelMismatch


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def without_gradient(model):
    return {name: p.numel() for name, p in model.named_parameters() if p.grad is None}


def test_parameters_are_those_of_the_reports_model(small):
    model = small.build(small.model(blocks=4, full_width=True), "meta")

    assert num_parameters(model.vfe) == 13_312
    assert num_parameters(model.backbone_3d.focal_encoder) == 378_880
    assert num_parameters(model.backbone_3d.dsvt) == 1_201_152
    assert num_parameters(model.map_to_bev_module) == 0
    assert num_parameters(model.backbone_2d) == 4_429_312
    assert num_parameters(model.dense_head) == 486_154
    assert num_parameters(model) == 6_508_810


def test_flattened_heights_make_the_first_convolution_large(small):
    grid, bev = (352, 16, 175), {"NAME": "HeightCompression", "NUM_BEV_FEATURES": 22400}
    settings = small.model(grid=grid, blocks=4, full_width=True, bev=bev)
    model = small.build(settings, "meta", data=small.data(grid))

    assert num_parameters(model) == 32_166_154
    assert model.backbone_2d.blocks[0][1].weight.numel() == 25_804_800


def test_declared_channels_that_are_not_real_are_named_with_both_numbers(small):
    bev = {"NAME": "HeightCompression", "NUM_BEV_FEATURES": 128}
    with pytest.raises(ChannelMismatch) as caught:
        small.build(small.model(bev=bev))

    assert (caught.value.declared, caught.value.found) == (128, 1280)
    assert caught.value.module == "map_to_bev_module"


def test_learned_projection_of_another_width_is_named(small):
    bev = {
        "NAME": "SparseHeightCompression",
        "MODE": "learned",
        "NUM_BEV_FEATURES": 128,
        "INPUT_FEATURES": 640,
    }
    with pytest.raises(ChannelMismatch, match="compress_conv declares 640"):
        small.build(small.model(bev=bev))


def test_dsvt_that_cannot_read_the_encoder_is_refused(small):
    settings = small.model(dsvt={"d_model": [64], "nhead": [4]}, inputs={"d_model": [64]})
    with pytest.raises(ConfigError, match="DSVT reads 64 channels"):
        small.build(settings)


def test_an_evaluation_finds_boxes_and_needs_none(small):
    batch = small.batch()
    given = {key: value for key, value in batch.items() if not key.startswith("gt_boxes")}
    found = small.build(small.model()).eval()(given)
    assert len(found) == batch["batch_size"]
    for sample in found:
        assert 0 < len(sample["boxes"]) == len(sample["scores"]) == len(sample["labels"])
        assert (sample["scores"].diff() <= 0).all()


@pytest.mark.parametrize("bev_input", ["dsvt", "encoder"])
def test_what_the_bev_map_reads_decides_who_gets_a_gradient(small, bev_input):
    bev = {
        "NAME": "SparseHeightCompression",
        "NUM_BEV_FEATURES": 128,
        "MODE": "max",
        "INPUT": bev_input,
    }
    model = small.build(small.model(bev=bev))
    batch = small.batch()
    loss = model(batch)
    loss.backward()

    assert torch.isfinite(loss)
    missing = without_gradient(model)
    assert missing.pop("backbone_3d.focal_encoder.conv_imp.weight") == 46_656
    assert all(name.startswith("backbone_3d.dsvt.") for name in missing)
    dsvt = num_parameters(model.backbone_3d.dsvt)
    assert sum(missing.values()) == (dsvt if bev_input == "encoder" else 0)
    assert batch["loss_box_of_backbone"].requires_grad


VARIANTS = {
    "flat": {"bev": {"NAME": "HeightCompression", "NUM_BEV_FEATURES": 1280}},
    "learned": {
        "bev": {
            "NAME": "SparseHeightCompression",
            "MODE": "learned",
            "NUM_BEV_FEATURES": 64,
            "INPUT_FEATURES": 1280,
        }
    },
    "sparse_max": {
        "bev": {"NAME": "SparseHeightCompression", "MODE": "sparse_max", "NUM_BEV_FEATURES": 128}
    },
    "sparse_mean": {
        "bev": {"NAME": "SparseHeightCompression", "MODE": "sparse_mean", "NUM_BEV_FEATURES": 128}
    },
    "topk": {"focal": {"FOCAL_TOPK": True}},
    "checkpoint": {"dsvt": {"USE_CHECKPOINT": True}},
    "two stages": {
        "dsvt": {"stages": 2},
        "inputs": {"downsample_stride": [[1, 1, 2]], "normalize_pos": True},
    },
    "two stages, maxpool": {
        "dsvt": {"stages": 2, "reduction_type": "maxpool"},
        "inputs": {"downsample_stride": [[1, 1, 2]]},
    },
    "two stages, linear": {
        "dsvt": {"stages": 2, "reduction_type": "linear"},
        "inputs": {"downsample_stride": [[1, 1, 5]], "window_shape": [[8, 8, 5], [8, 8, 2]]},
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_without_values_has_the_shapes_of_one_with_values(small, name):
    settings = small.model(**VARIANTS[name])
    real, batch = small.build(settings), small.batch()
    encoder = real.backbone_3d.focal_encoder
    seen = []
    hook = encoder.conv_imp.register_forward_hook(lambda *args: seen.append(args[2].features))
    real(batch).backward()
    hook.remove()

    scores = seen[0].detach().sigmoid().numpy()
    fore = scores[:, -1] > 0.5
    if name == "topk":
        fore = np.zeros(len(scores), bool)
        for first in (0, 60):
            fore[first + np.argsort(-scores[first : first + 60, -1])[:30]] = True
    decision = FocalDecision(fore, scores[:, :-1] >= 0.5)
    meta, meta_batch = small.build(settings, "meta"), small.batch(device="meta")
    meta.backbone_3d.focal_encoder.decision = decision
    with small.mixed_devices():
        meta(meta_batch).backward()

    coords = small.batch()["voxel_coords"].int().numpy()
    kept = count(coords, decision, small.grid[::-1], 2)
    if "stages" not in name:
        assert batch["encoded_spconv_tensor"].features.shape[0] == kept
    for key in ("spatial_features", "spatial_features_2d", "voxel_features"):
        assert meta_batch[key].is_meta
        assert meta_batch[key].shape == batch[key].shape
    ours, theirs = meta_batch["encoded_spconv_tensor"], batch["encoded_spconv_tensor"]
    assert set(map(tuple, ours.indices.tolist())) == set(map(tuple, theirs.indices.tolist()))
    assert without_gradient(meta) == without_gradient(real)


def test_meta_features_without_a_decision_are_refused(small):
    model = small.build(small.model(), "meta")
    with small.mixed_devices(), pytest.raises(RuntimeError, match="set its decision"):
        model(small.batch(device="meta"))


def test_recomputing_blocks_changes_no_gradient(small):
    gradients = []
    for key in ("USE_CHECKPOINT", "ues_checkpoint", "unknown"):
        model = small.build(small.model(dsvt={key: True}))
        model(small.batch()).backward()
        block = model.backbone_3d.dsvt.stages[0][0]
        gradients.append(block.encoder_list[0].win_attn.linear1.weight.grad)
    assert torch.allclose(gradients[0], gradients[2], atol=1e-6)
    assert torch.equal(gradients[0], gradients[1])
