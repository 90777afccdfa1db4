"""Sampled decisions against the encoder that is built with the same seed."""

import numpy as np
import pytest
import torch

from bevdiag.models.backbones_3d.focal_growth import count
from bevdiag.models.backbones_3d.focal_sampling import ScoreSampler, decided
from bevdiag.models.vfe.sda_vfe import PackedVoxels
from bevdiag.sparse import namespace


def packed(batch):
    number = batch["voxel_num_points"].long()
    filled = torch.arange(batch["voxels"].shape[1]) < number[:, None]
    return PackedVoxels(batch["voxels"][filled], number, batch["voxel_coords"], filled.shape[1])


def sampler_of(settings, data, batch):
    encoder = settings.backbone_3d.focal_encoder
    return ScoreSampler(settings.vfe, encoder, data, packed(batch), spconv=namespace("cpu"))


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("topk", [False, True])
def test_a_seed_gives_what_a_run_with_that_seed_keeps(small, seed, topk):
    settings = small.model(focal={"FOCAL_TOPK": topk})
    sampler = sampler_of(settings, small.data(), small.batch(num_voxels=400))
    encoder = settings.backbone_3d.focal_encoder

    model, batch = small.build(settings, seed=seed), small.batch(num_voxels=400)
    with torch.no_grad():
        model.backbone_3d.focal_encoder(model.vfe(batch))

    coords = small.batch(num_voxels=400)["voxel_coords"].int().numpy()
    decision = decided(sampler.sample(seed), coords, threshold=encoder.focal_threshold, topk=topk)
    kept = len(batch["encoded_spconv_tensor"].features)
    assert count(coords, decision, small.grid[::-1], 2) == kept
    assert (decision.fore_mask.mean() == 0.5) == topk


def test_seeds_differ_and_the_global_generator_stays_put(small):
    sampler = sampler_of(small.model(), small.data(), small.batch())
    state = torch.random.get_rng_state()
    first, again, other = sampler.sample(0), sampler.sample(0), sampler.sample(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_known_is_not_computed_again(small):
    sampler = sampler_of(small.model(), small.data(), small.batch())
    sampler.known[7] = np.zeros((1, 27), np.float32)
    assert sampler.sample(7) is sampler.known[7]
