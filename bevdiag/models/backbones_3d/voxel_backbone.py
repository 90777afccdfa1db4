"""VoxelBackBone8x and its kind: sparse convolutions down to an eighth of the grid.

VoxelResBackBone8x has residual blocks; VoxelBackBone8xFocal has a focal sparse convolution behind
three levels.
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bevdiag.config.backbone_settings import (
    VoxelBackboneSettings,
    VoxelFocalBackboneSettings,
    VoxelResBackboneSettings,
)
from bevdiag.models.backbones_3d.focal_growth import OFFSETS
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth, points_in_boxes
from bevdiag.models.contracts import Batch
from bevdiag.models.interfaces import VOXEL_BACKBONE_CHANNELS, SpatialShape
from bevdiag.models.sized_ops import without_values

Triple = tuple[int, int, int]
"""z, y, x."""


class VoxelBackbone(nn.Module):
    """Four levels and a last convolution along the height.

    The base class runs them; subclasses build `conv_input`, `conv1` to `conv4` and `conv_out`.
    Every level's tensor stays in the batch, where two-stage heads look for it.

    Args:
        settings: of the subclass.
        in_channels: of the voxels.
        grid_size: x, y, z.
        spconv: a namespace like spconv.pytorch.
    """

    in_place: ClassVar[bool] = False
    """The ReLUs' option."""
    conv_input: nn.Module
    conv1: nn.Module
    conv2: nn.Module
    conv3: nn.Module
    conv4: nn.Module
    conv_out: nn.Module

    def __init__(
        self, settings: Any, in_channels: int, grid_size: tuple[int, int, int], *, spconv: Any
    ) -> None:
        super().__init__()
        x, y, z = grid_size
        self.spconv = spconv
        self.sparse_shape: SpatialShape = (z + 1, y, x)
        self.build(settings, in_channels)

    @abstractmethod
    def build(self, settings: Any, in_channels: int) -> None:
        """Make the layers."""

    def forward(self, batch: Batch) -> Batch:
        """Add `encoded_spconv_tensor` from `voxel_features` [N, C] and `voxel_coords` [N, 4]."""
        x = self.sparse_input(batch)
        stem = self.conv_input(x)
        levels = [self.conv1(stem)]
        for conv in (self.conv2, self.conv3, self.conv4):
            levels.append(conv(levels[-1]))
        return self.handed_over(batch, levels)

    def sparse_input(self, batch: Batch) -> Any:
        """Make a sparse tensor of the voxels."""
        return self.spconv.SparseConvTensor(
            features=batch["voxel_features"],
            indices=batch["voxel_coords"].int(),
            spatial_shape=list(self.sparse_shape),
            batch_size=batch["batch_size"],
        )

    def handed_over(self, batch: Batch, levels: Sequence[Any]) -> Batch:
        """Return the batch with every level's tensor, and the last convolution's."""
        out = self.conv_out(levels[-1])
        batch["encoded_spconv_tensor"] = out
        batch["encoded_spconv_tensor_stride"] = 8
        batch["multi_scale_3d_features"] = {
            f"x_conv{number}": level for number, level in enumerate(levels, start=1)
        }
        return batch

    def subm(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """Submanifold 3x3x3 without bias, BatchNorm, ReLU."""
        conv = self.spconv.SubMConv3d(in_channels, out_channels, 3, bias=False, indice_key=key)
        return self._activated(conv, out_channels)

    def down(
        self,
        in_channels: int,
        out_channels: int,
        key: str,
        *,
        kernel: Triple = (3, 3, 3),
        stride: Triple = (2, 2, 2),
        padding: Triple = (1, 1, 1),
    ) -> nn.Module:
        """Build a strided sparse convolution without bias, BatchNorm, ReLU."""
        conv = self.spconv.SparseConv3d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=padding,
            bias=False,
            indice_key=key,
        )
        return self._activated(conv, out_channels)

    def stage(self, in_channels: int, channels: int, number: int, **how: Triple) -> list[nn.Module]:
        """Build a strided convolution and two submanifold ones behind it."""
        down = self.down(in_channels, channels, f"spconv{number}", **how)
        return [down, *(self.subm(channels, channels, f"subm{number}") for _ in range(2))]

    def last(self, in_channels: int, padding: Triple) -> nn.Module:
        """Build the convolution along the height that hands over."""
        along = {"kernel": (3, 1, 1), "stride": (2, 1, 1), "padding": padding}
        return self.down(in_channels, VOXEL_BACKBONE_CHANNELS, "spconv_down2", **along)

    def _activated(self, conv: nn.Module, channels: int) -> nn.Module:
        sequence: nn.Module = self.spconv.SparseSequential(
            conv, sparse_norm(channels), nn.ReLU(self.in_place)
        )
        return sequence


def sparse_norm(channels: int) -> nn.BatchNorm1d:
    """Build the BatchNorm of OpenPCDet's sparse layers."""
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


class VoxelBackBone8x(VoxelBackbone):
    """Two submanifold convolutions behind each stride; up to 64 channels, then 128."""

    def build(self, settings: VoxelBackboneSettings, in_channels: int) -> None:
        self.conv_input = self.subm(in_channels, 16, "subm1")
        self.conv1 = nn.Sequential(self.subm(16, 16, "subm1"))
        self.conv2 = nn.Sequential(*self.stage(16, 32, 2))
        self.conv3 = nn.Sequential(*self.stage(32, 64, 3))
        self.conv4 = nn.Sequential(*self.stage(64, 64, 4, padding=(0, 1, 1)))
        self.conv_out = self.last(64, settings.last_pad)


class ResidualBlock(nn.Module):
    """Two submanifold convolutions around which the input is added."""

    def __init__(self, channels: int, key: str, *, bias: bool, spconv: Any) -> None:
        super().__init__()
        conv = partial(spconv.SubMConv3d, kernel_size=3, padding=1, bias=bias, indice_key=key)
        self.conv1 = conv(channels, channels)
        self.bn1 = sparse_norm(channels)
        self.relu = nn.ReLU()
        self.conv2 = conv(channels, channels)
        self.bn2 = sparse_norm(channels)

    def forward(self, x: Any) -> Any:
        """Turn a sparse tensor of C channels into another on the same voxels."""
        out = self.conv1(x)
        out = out.replace_feature(self.bn1(out.features))
        out = out.replace_feature(self.relu(out.features))
        out = self.conv2(out)
        out = out.replace_feature(self.bn2(out.features))
        out = out.replace_feature(out.features + x.features)
        return out.replace_feature(self.relu(out.features))


class VoxelResBackBone8x(VoxelBackbone):
    """Two residual blocks behind each stride; up to 128 channels."""

    def build(self, settings: VoxelResBackboneSettings, in_channels: int) -> None:
        block = partial(ResidualBlock, bias=settings.use_bias is not False, spconv=self.spconv)

        def residual(*first: nn.Module, channels: int, key: str) -> nn.Module:
            blocks = [block(channels, key) for _ in range(2)]
            return nn.Sequential(*first, *blocks)

        self.conv_input = self.subm(in_channels, 16, "subm1")
        self.conv1 = residual(channels=16, key="res1")
        self.conv2 = residual(self.down(16, 32, "spconv2"), channels=32, key="res2")
        self.conv3 = residual(self.down(32, 64, "spconv3"), channels=64, key="res3")
        down = self.down(64, 128, "spconv4", padding=(0, 1, 1))
        self.conv4 = residual(down, channels=128, key="res4")
        self.conv_out = self.last(128, settings.last_pad)


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

    in_place = True

    def build(self, settings: VoxelFocalBackboneSettings, in_channels: int) -> None:
        focal = partial(FocalSparseConv, settings, spconv=self.spconv)
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
