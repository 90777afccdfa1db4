"""VoxelBackBone8xFocal: VoxelBackBone8x with a focal sparse convolution behind three levels."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bevdiag.config.backbone_settings import VoxelFocalBackboneSettings
from bevdiag.models.backbones_3d.focal_growth import OFFSETS
from bevdiag.models.backbones_3d.voxel_backbone import VoxelBackbone, sparse_norm
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth, points_in_boxes
from bevdiag.models.contracts import Batch
from bevdiag.models.sized_ops import without_values

_FOCAL_EPSILON = 1e-7
_FOCAL_GAMMA = 2.0
_RANGE = (-3.0, -40.0, 0.0, 1.0, 40.0, 70.4)
_VOXEL_SIZE = (0.1, 0.05, 0.05)
"""z, y, x of KITTI, which the original takes for every data set; they only bear on its loss."""


class FocalSparseConv(VoxelGrowth):
    """Importance of every voxel and its 26 neighbours, growth, then a submanifold convolution.

    The neighbours' scores scale the foreground unless SKIP_MASK_KERNEL is on.
    """

    origin: Tensor
    cell: Tensor

    def __init__(
        self,
        settings: VoxelFocalBackboneSettings,
        channels: int,
        voxel_stride: int,
        key: str,
        *,
        spconv: Any,
    ) -> None:
        super().__init__(
            threshold=settings.threshold,
            topk=settings.topk,
            scale_all=settings.mask_multi,
            scale_fore=not settings.skip_mask_kernel,
            spconv=spconv,
        )
        self.voxel_stride = voxel_stride
        self.conv = spconv.SubMConv3d(channels, channels, 3, stride=1, bias=False, indice_key=key)
        self.bn1 = sparse_norm(channels)
        self.relu = nn.ReLU(inplace=True)
        enlarged = settings.enlarge_voxel_channels
        self.conv_enlarge = None
        if enlarged > 0:
            self.conv_enlarge = spconv.SparseSequential(
                spconv.SubMConv3d(
                    channels, enlarged, 3, padding=1, bias=False, indice_key=f"{key}_enlarge"
                ),
                sparse_norm(enlarged),
                nn.ReLU(inplace=True),
            )
        self.conv_imp = spconv.SubMConv3d(
            enlarged if enlarged > 0 else channels,
            len(OFFSETS) + 1,
            3,
            padding=1,
            bias=False,
            indice_key=f"{key}_imp",
        )
        self.register_buffer("origin", torch.tensor(_RANGE[:3]), persistent=False)
        self.register_buffer("cell", torch.tensor(_VOXEL_SIZE), persistent=False)

    def forward(self, x: Any, batch: Batch) -> tuple[Any, Tensor]:
        """Turn a sparse tensor into one on the kept voxels, and the importance's loss."""
        cells = x.indices[:, 1:] * self.voxel_stride
        centres = (without_values(cells) if x.features.is_meta else cells) * self.cell
        centres = centres + self.origin
        seen = x if self.conv_enlarge is None else self.conv_enlarge(x)
        logits = self.conv_imp(seen).features
        loss = self._importance_loss(x, logits, centres, batch)
        sparse, _parts = self.grown(x, logits)[:2]
        out = self.conv(sparse)
        out = out.replace_feature(self.bn1(out.features))
        return out.replace_feature(self.relu(out.features)), loss

    def _importance_loss(self, x: Any, logits: Tensor, centres: Tensor, batch: Batch) -> Tensor:
        """Focal loss of "the voxel's centre lies in a box" against the importance."""
        importance, is_inside = [], []
        for sample in range(x.batch_size):
            rows = x.indices[:, 0] == sample
            importance.append(logits[rows, -1].sigmoid())
            own = centres[rows].unsqueeze(0)
            boxes = batch["gt_boxes"][sample, :, :7].unsqueeze(0)
            box = points_in_boxes(own[:, :, [2, 1, 0]], boxes).squeeze(0)
            is_inside.append(box >= 0)
        scores, targets = torch.cat(importance), torch.cat(is_inside)
        both = torch.cat([1 - scores.unsqueeze(-1), scores.unsqueeze(-1)], dim=1)
        return _focal_loss(both, targets.long())


def _focal_loss(scores: Tensor, target: Tensor) -> Tensor:
    """Mean focal loss of two-class scores [N, 2] against classes [N]."""
    one_hot = torch.zeros(scores.shape, device=scores.device)
    ones = torch.ones((*target.shape, 1), device=scores.device)
    one_hot = one_hot.scatter_(1, target.view(-1, 1), ones)
    probability = functional.softmax(scores, dim=-1)
    probability = probability.clamp(_FOCAL_EPSILON, 1.0 - _FOCAL_EPSILON)
    loss = -1 * one_hot * torch.log(probability)
    loss = loss * (1 - probability) ** _FOCAL_GAMMA
    return loss.mean()


class FocalLevel(nn.Module):
    """Plain layers, then, behind the first three levels, a focal sparse convolution."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)

    def forward(self, x: Any, batch: Batch) -> tuple[Any, Tensor | int]:
        """Turn a sparse tensor into another, and the focal convolution's loss."""
        loss: Tensor | int = 0
        for layer in self.children():
            if isinstance(layer, FocalSparseConv):
                x, own = layer(x, batch)
                loss = loss + own
            else:
                x = layer(x)
        return x, loss


class VoxelBackBone8xFocal(VoxelBackbone):
    """VoxelBackBone8x's layers, its activations in place, and three focal convolutions.

    The importance's loss stays with the backbone until the next forward pass, as in the original:
    one-stage detectors do not add it to theirs.
    """

    def __init__(
        self,
        settings: VoxelFocalBackboneSettings,
        in_channels: int,
        grid_size: tuple[int, int, int],
        *,
        spconv: Any,
    ) -> None:
        super().__init__(grid_size, spconv=spconv, in_place=True)

        def focal(channels: int, stride: int, key: str) -> nn.Module:
            return FocalSparseConv(settings, channels, stride, key, spconv=spconv)

        self.conv_input = self.subm(in_channels, 16, "subm1")
        self.conv1 = FocalLevel(self.subm(16, 16, "subm1"), focal(16, 1, "focal1"))
        self.conv2 = FocalLevel(*self.stage(16, 32, 2), focal(32, 2, "focal2"))
        self.conv3 = FocalLevel(*self.stage(32, 64, 3), focal(64, 4, "focal3"))
        self.conv4 = FocalLevel(*self.stage(64, 64, 4, padding=(0, 1, 1)))
        self.conv_out = self.last(64, settings.last_pad)
        self.importance_loss: Tensor | int = 0

    def forward(self, batch: Batch) -> Batch:
        """As `VoxelBackbone`."""
        x = self.conv_input(self.sparse_input(batch))
        levels: list[Any] = []
        losses: list[Tensor | int] = []
        for level in (self.conv1, self.conv2, self.conv3, self.conv4):
            out, loss = level(levels[-1] if levels else x, batch)
            levels.append(out)
            losses.append(loss)
        self.importance_loss = losses[0] + losses[1] + losses[2] + losses[3]
        return self.handed_over(batch, levels)
