import torch

from bevdiag.models.backbones_3d.dsvt import AttentionReduction, SetAttention
from bevdiag.models.backbones_3d.dsvt_sets import partition
from tests.models.backbones_3d.windows import GRID, SET_SIZE, random_coords


def test_set_attention_is_that_of_a_loop():
    torch.manual_seed(0)
    channels, heads, number = 16, 4, 40
    module = SetAttention(channels, heads, 0.0, 32, "gelu")
    coords = random_coords(number=number)
    window, inner = GRID.place(torch.from_numpy(coords).long())
    sets = partition(window, inner, GRID, SET_SIZE, None)
    src, position = torch.randn(number, channels), torch.randn(number, channels)

    expected = torch.empty(number, channels)
    weights = module.self_attn.in_proj_weight.chunk(3)
    biases = module.self_attn.in_proj_bias.chunk(3)
    for slots, masked in zip(sets.voxels[0].tolist(), sets.repeated[0].tolist(), strict=True):
        rows = [slot for slot, is_masked in zip(slots, masked, strict=True) if not is_masked]
        inputs = (src[rows] + position[rows], src[rows] + position[rows], src[rows])
        query, key, value = (
            (i @ w.T + b).view(len(rows), heads, -1).transpose(0, 1)
            for i, w, b in zip(inputs, weights, biases, strict=True)
        )
        maps = (query @ key.transpose(1, 2) / (channels / heads) ** 0.5).softmax(-1)
        merged = (maps @ value).transpose(0, 1).reshape(len(rows), channels)
        expected[rows] = module.self_attn.out_proj(merged)
    hidden = module.norm1(src + expected)
    expected = module.norm2(hidden + module.linear2(module.activation(module.linear1(hidden))))

    result = module(src, position, sets.repeated[0], sets.voxels[0])
    assert torch.allclose(result, expected, atol=1e-5)


def test_attention_reduction_attends_to_every_place():
    torch.manual_seed(0)
    module = AttentionReduction(16, 4)
    pooled = torch.randn(5, 16, 4)
    places = pooled.permute(0, 2, 1)
    strongest = places.max(1, keepdim=True).values
    attended, _ = module.self_attn(strongest, places + module.pos_embedding, places)
    assert torch.allclose(module(pooled), module.norm(attended + strongest)[:, 0], atol=1e-6)
