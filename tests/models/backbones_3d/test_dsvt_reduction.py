import torch

from bevdiag.models.backbones_3d.dsvt_reduction import AttentionReduction


def test_attention_reduction_attends_to_every_place():
    torch.manual_seed(0)
    module = AttentionReduction(16, 4)
    pooled = torch.randn(5, 16, 4)
    places = pooled.permute(0, 2, 1)
    strongest = places.max(1, keepdim=True).values
    attended, _ = module.self_attn(strongest, places + module.pos_embedding, places)
    assert torch.allclose(module(pooled), module.norm(attended + strongest)[:, 0], atol=1e-6)
