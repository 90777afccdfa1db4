"""VoxelBackBone8x and VoxelResBackBone8x: sparse convolutions down to an eighth of the grid."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from bevdiag.config.backbone_settings import VoxelBackboneSettings, VoxelResBackboneSettings
from bevdiag.models.contracts import Batch
from bevdiag.models.interfaces import VOXEL_BACKBONE_CHANNELS, SpatialShape

Triple = tuple[int, int, int]
"""z, y, x."""


class VoxelBackbone(nn.Module):
    """Four levels and a last convolution along the height.

    The base class runs them; subclasses make `conv_input`, `conv1` to `conv4` and `conv_out`. Every
    level's tensor stays in the batch, where two-stage heads look for it.
    """

    conv_input: nn.Module
    conv1: nn.Module
    conv2: nn.Module
    conv3: nn.Module
    conv4: nn.Module
    conv_out: nn.Module

    def __init__(
        self, grid_size: tuple[int, int, int], *, spconv: Any, in_place: bool = False
    ) -> None:
        """Take the grid x, y, z; `spconv` is like spconv.pytorch, `in_place` the ReLUs' option."""
        super().__init__()
        x, y, z = grid_size
        self.spconv = spconv
        self.in_place = in_place
        self.sparse_shape: SpatialShape = (z + 1, y, x)

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

    def __init__(
        self,
        settings: VoxelBackboneSettings,
        in_channels: int,
        grid_size: tuple[int, int, int],
        *,
        spconv: Any,
    ) -> None:
        super().__init__(grid_size, spconv=spconv)
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

    def __init__(
        self,
        settings: VoxelResBackboneSettings,
        in_channels: int,
        grid_size: tuple[int, int, int],
        *,
        spconv: Any,
    ) -> None:
        super().__init__(grid_size, spconv=spconv)
        bias = settings.use_bias is not False

        def residual(*first: nn.Module, channels: int, key: str) -> nn.Module:
            blocks = [ResidualBlock(channels, key, bias=bias, spconv=spconv) for _ in range(2)]
            return nn.Sequential(*first, *blocks)

        self.conv_input = self.subm(in_channels, 16, "subm1")
        self.conv1 = residual(channels=16, key="res1")
        self.conv2 = residual(self.down(16, 32, "spconv2"), channels=32, key="res2")
        self.conv3 = residual(self.down(32, 64, "spconv3"), channels=64, key="res3")
        down = self.down(64, 128, "spconv4", padding=(0, 1, 1))
        self.conv4 = residual(down, channels=128, key="res4")
        self.conv_out = self.last(128, settings.last_pad)
