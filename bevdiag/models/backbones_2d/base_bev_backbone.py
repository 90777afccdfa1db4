"""BaseBEVBackbone: levels of convolutions, each brought back to one resolution and concatenated."""

import torch
from torch import nn

from bevdiag.config.settings import BaseBevBackboneSettings
from bevdiag.models.batch import Batch


class BaseBevBackbone(nn.Module):
    """Levels of 3x3 convolutions with BatchNorm and ReLU, and an upsampling branch for each.

    The branch is a transposed convolution, or a strided one for factors below 1 (and, with
    USE_CONV_FOR_NO_STRIDE, for 1). One factor more than levels adds a branch behind the
    concatenation.
    """

    def __init__(self, settings: BaseBevBackboneSettings, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        widths = (in_channels, *settings.num_filters)
        self.blocks = nn.ModuleList(
            _level(widths[i], widths[i + 1], settings.layer_strides[i], settings.layer_nums[i])
            for i in range(len(settings.layer_nums))
        )
        ups = list(zip(settings.upsample_strides, settings.num_upsample_filters, strict=True))
        self.deblocks = nn.ModuleList(
            _upsample(width, filters, factor, settings.use_conv_for_no_stride)
            for width, (factor, filters) in zip(settings.num_filters, ups, strict=False)
        )
        out_channels = sum(settings.num_upsample_filters) or sum(settings.num_filters)
        self.last_deblock = None
        if len(ups) > len(settings.num_filters):
            out_channels = sum(settings.num_upsample_filters[: len(settings.num_filters)])
            self.last_deblock = _upsample(out_channels, out_channels, ups[-1][0], False)
        self.num_bev_features = out_channels

    def forward(self, batch: Batch) -> Batch:
        """From `spatial_features` [B, C, H, W] add `spatial_features_2d` [B, C', H', W']."""
        spatial_features = batch["spatial_features"]
        upsampled = []
        x = spatial_features
        for i, block in enumerate(self.blocks):
            x = block(x)
            upsampled.append(self.deblocks[i](x) if self.deblocks else x)
        x = torch.cat(upsampled, dim=1)
        if self.last_deblock is not None:
            x = self.last_deblock(x)
        batch["spatial_features_2d"] = x
        return batch


def _norm_and_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), nn.ReLU()]


def _level(in_channels: int, out_channels: int, stride: int, num_layers: int) -> nn.Sequential:
    layers = [
        nn.ZeroPad2d(1),
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=0, bias=False),
        *_norm_and_relu(out_channels),
    ]
    for _ in range(num_layers):
        layers.append(nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False))
        layers.extend(_norm_and_relu(out_channels))
    return nn.Sequential(*layers)


def _upsample(
    in_channels: int, out_channels: int, factor: float, use_conv_for_no_stride: bool
) -> nn.Sequential:
    conv: nn.Module
    if factor > 1 or (factor == 1 and not use_conv_for_no_stride):
        size = int(factor)
        conv = nn.ConvTranspose2d(in_channels, out_channels, size, stride=size, bias=False)
    else:
        size = round(1 / factor)
        conv = nn.Conv2d(in_channels, out_channels, size, stride=size, bias=False)
    return nn.Sequential(conv, *_norm_and_relu(out_channels))
