"""BaseBEVBackbone and BaseBEVResBackbone: levels brought back to one resolution and joined."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bevdiag.config.bev_settings import BaseBevBackboneSettings, BevLevelsSettings
from bevdiag.errors import ConfigError
from bevdiag.models.contracts import Batch


class BevLevels(nn.Module):
    """Levels of convolutions on the map, and an upsampling branch for each.

    The branch is a transposed convolution, or a strided one for factors below 1 (and, with
    USE_CONV_FOR_NO_STRIDE, for 1).

    Attributes:
        make_level: makes a level from its input channels, output channels, stride and LAYER_NUMS.
    """

    make_level: Callable[[int, int, int, int], nn.Module]

    def __init__(self, settings: BevLevelsSettings, in_channels: int) -> None:
        super().__init__()
        use_conv_for_no_stride = (
            isinstance(settings, BaseBevBackboneSettings) and settings.use_conv_for_no_stride
        )
        widths = (in_channels, *settings.num_filters)
        self.blocks = nn.ModuleList(
            self.make_level(widths[i], filters, settings.layer_strides[i], settings.layer_nums[i])
            for i, filters in enumerate(settings.num_filters)
        )
        self.deblocks = nn.ModuleList(
            _upsample(settings.num_filters[i], filters, factor, use_conv_for_no_stride)
            for i, (filters, factor) in enumerate(
                zip(settings.num_upsample_filters, settings.upsample_strides, strict=True)
            )
        )
        self.num_bev_features = sum(settings.num_upsample_filters) or sum(settings.num_filters)

    def forward(self, batch: Batch) -> Batch:
        """From `spatial_features` [B, C, H, W] add `spatial_features_2d` [B, C', H', W'].

        Raises:
            ConfigError: the branches do not meet at one resolution.
        """
        spatial_features = batch["spatial_features"]
        upsampled = []
        # The original keeps each stride's map by name until it returns, which evaluation shows.
        levels: dict[int, Tensor] = {}
        x = spatial_features
        for i, block in enumerate(self.blocks):
            x = block(x)
            levels[spatial_features.shape[2] // max(x.shape[2], 1)] = x
            upsampled.append(self.deblocks[i](x) if self.deblocks else x)
        if len(upsampled) == 1:
            (x,) = upsampled
        else:
            _check_resolution(upsampled, spatial_features)
            x = torch.cat(upsampled, dim=1)
        batch["spatial_features_2d"] = x
        return batch


def _check_resolution(upsampled: list[Tensor], spatial_features: Tensor) -> None:
    sizes = [tuple(x.shape[2:]) for x in upsampled]
    if len(set(sizes)) > 1:
        found = ", ".join(f"{height} x {width}" for height, width in sizes)
        height, width = spatial_features.shape[2:]
        raise ConfigError(
            f"a BEV map of {height} x {width} leaves the levels at {found}, which cannot be "
            "concatenated: expected a height and width that the product of LAYER_STRIDES divides, "
            "and UPSAMPLE_STRIDES that undo it",
            key="MODEL.BACKBONE_2D.UPSAMPLE_STRIDES",
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added, through a 1x1 one if `shortcut`."""

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, shortcut: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = _norm(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = _norm(channels)
        self.relu2 = nn.ReLU()
        self.downsample_layer = None
        if shortcut:
            self.downsample_layer = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), _norm(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, H, W] to [B, C, H / stride, W / stride]."""
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu1(out)
        out = self.conv2(out)
        out = self.bn2(out)
        identity = x if self.downsample_layer is None else self.downsample_layer(x)
        out += identity
        activated: Tensor = self.relu2(out)
        return activated


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _plain_level(
    in_channels: int, out_channels: int, stride: int, num_layers: int
) -> nn.Sequential:
    layers = [
        nn.ZeroPad2d(1),
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=0, bias=False),
        _norm(out_channels),
        nn.ReLU(),
    ]
    for _ in range(num_layers):
        layers.append(nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False))
        layers.extend((_norm(out_channels), nn.ReLU()))
    return nn.Sequential(*layers)


def _residual_level(
    in_channels: int, out_channels: int, stride: int, num_layers: int
) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride, shortcut=True)
    return nn.Sequential(
        first, *(BasicBlock(out_channels, out_channels) for _ in range(num_layers))
    )


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
    return nn.Sequential(conv, _norm(out_channels), nn.ReLU())


class BaseBevBackbone(BevLevels):
    """A level is a strided 3x3 convolution and LAYER_NUMS plain ones, with BatchNorm and ReLU."""

    make_level = staticmethod(_plain_level)


class BaseBevResBackbone(BevLevels):
    """A level is a strided residual block and LAYER_NUMS plain ones."""

    make_level = staticmethod(_residual_level)
