from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bevdiag import sparse
from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.trace.flops import FlopCounter
from bevdiag.trace.step import StepHooks, StepOptions, trace_steps

N, H, W = 2, 6, 8


def _flops(model: nn.Module, batch: dict[str, Any], num_steps: int = 2) -> int:
    counter = FlopCounter(num_steps)
    options = StepOptions(
        optimization=OptimizationSettings(), optimizer="adamw", num_steps=num_steps
    )
    trace_steps(model.to("meta"), batch, options, StepHooks(around=counter.around))
    return counter.flops


def _image() -> dict[str, Any]:
    return {"x": torch.empty(N, 4, H, W, device="meta")}


class _Dense(nn.Module):
    """A convolution, whose input needs no gradient, and a linear layer behind it."""

    def __init__(self, *, recompute: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1, bias=False)
        self.linear = nn.Sequential(nn.Linear(8, 5, bias=False), nn.GELU())
        self.recompute = recompute

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        x = self.conv(batch["x"]).permute(0, 2, 3, 1).reshape(-1, 8)
        y = checkpoint(self.linear, x, use_reentrant=False) if self.recompute else self.linear(x)
        return y.sum()


CONV = 2 * N * H * W * 8 * 4 * 9
LINEAR = 2 * N * H * W * 8 * 5


def test_convolutions_and_products_forward_and_backward() -> None:
    # The convolution has a weight gradient alone; the linear layer has both.
    assert _flops(_Dense(), _image()) == 2 * CONV + 3 * LINEAR


def test_what_a_checkpoint_recomputes_counts_again() -> None:
    assert _flops(_Dense(recompute=True), _image()) == 2 * CONV + 4 * LINEAR


@pytest.mark.parametrize("num_steps", [1, 3])
def test_one_step_counts_however_many_run(num_steps: int) -> None:
    assert _flops(_Dense(), _image(), num_steps) == 2 * CONV + 3 * LINEAR


class _Sparse(nn.Module):
    """A submanifold layer and one of stride 2, on a line of voxels."""

    def __init__(self) -> None:
        super().__init__()
        self.spconv = sparse.namespace("meta")
        self.subm = self.spconv.SubMConv3d(4, 8, 3, bias=False, indice_key="a")
        self.down = self.spconv.SparseConv3d(8, 8, (1, 1, 2), stride=(1, 1, 2), bias=False)

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        x = self.spconv.SparseConvTensor(batch["x"], batch["coords"], [1, 1, 10], 1)
        features: torch.Tensor = self.down(self.subm(x)).features
        return features.sum()


def test_sparse_layers_count_their_pairs() -> None:
    coords = torch.zeros(6, 4, dtype=torch.int32)
    coords[:, 3] = torch.tensor([0, 1, 2, 5, 6, 9])
    batch = {"x": torch.empty(6, 4, device="meta"), "coords": coords}
    # 6 voxels meet themselves; 0-1, 1-2 and 5-6 are neighbours, each of the other.
    subm, down = 2 * (6 + 6) * 4 * 8, 2 * 6 * 8 * 8
    assert _flops(_Sparse(), batch) == 2 * subm + 3 * down
