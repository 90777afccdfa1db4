"""How DSVT pools the voxels of one stage into the next."""

import torch
from torch import Tensor, nn

_REDUCTION_HEADS = 8
"""The original's; the stage's own nhead does not count here."""


class LinearReduction(nn.Module):
    """A bias-free linear layer over all places of a pool at once, then LayerNorm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, pooled: Tensor) -> Tensor:
        """[N', places * C] to [N', C']."""
        reduced: Tensor = self.norm(self.linear1(pooled))
        return reduced


class MaxReduction(nn.Module):
    """The maximum over a pool's places."""

    def __init__(self, volume: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(volume)

    def forward(self, pooled: Tensor) -> Tensor:
        """[N', C, places] to [N', C]."""
        reduced: Tensor = self.pool(pooled).squeeze(-1)
        return reduced


class AttentionReduction(nn.Module):
    """The pool's maximum attends to its places, empty ones included."""

    def __init__(self, channels: int, volume: int) -> None:
        super().__init__()
        self.query_func = nn.MaxPool1d(volume)
        self.norm = nn.LayerNorm(channels)
        self.self_attn = nn.MultiheadAttention(channels, _REDUCTION_HEADS, batch_first=True)
        self.pos_embedding = nn.Parameter(torch.randn(volume, channels))
        nn.init.normal_(self.pos_embedding, std=0.01)

    def forward(self, pooled: Tensor) -> Tensor:
        """[N', C, places] to [N', C]."""
        count, _, volume = pooled.shape
        # The original makes an integer mask, which PyTorch refuses since 2.0; nothing is masked.
        padding = torch.zeros((count, volume), dtype=torch.int32, device=pooled.device).bool()
        src = self.query_func(pooled).permute(0, 2, 1)
        key = value = pooled.permute(0, 2, 1)
        key = key + self.pos_embedding.unsqueeze(0).repeat(src.shape[0], 1, 1)
        query = src.clone()
        attended = self.self_attn(query, key, value, padding)[0]
        reduced: Tensor = self.norm(attended + src).squeeze(1)
        return reduced


def build_reduction(
    reduction_type: str, channels: int, next_channels: int, volume: int
) -> nn.Module:
    """Build the module for one transition.

    Args:
        reduction_type: "linear", "maxpool" or "attention".
        channels: C of the stage before.
        next_channels: C of the stage after; only the linear reduction can change C.
        volume: places of a pool.
    """
    if reduction_type == "linear":
        return LinearReduction(channels * volume, next_channels)
    if reduction_type == "maxpool":
        return MaxReduction(volume)
    return AttentionReduction(channels, volume)
