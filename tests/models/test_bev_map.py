"""Sizes of the BEV map and of the 2D backbone's levels, against a real backbone."""

import pytest
import torch

from bevdiag.config.bev_settings import BaseBevBackboneSettings
from bevdiag.models.backbones_2d.base_bev_backbone import BaseBevBackbone
from bevdiag.models.bev_map import level_sizes, level_strides


def _settings(strides: list[int], ups: list[float]) -> BaseBevBackboneSettings:
    levels = len(strides)
    return BaseBevBackboneSettings(
        name="BaseBEVBackbone",
        layer_nums=[0] * levels,
        layer_strides=strides,
        num_filters=[4] * levels,
        upsample_strides=ups,
        num_upsample_filters=[4] * levels,
    )


@pytest.mark.parametrize(
    ("strides", "ups"), [([1, 2], [1.0, 2.0]), ([2, 2, 2], [0.5, 1.0, 2.0]), ([2, 2], [1.0, 4.0])]
)
@pytest.mark.parametrize("size", [8, 9, 15, 16, 94])
def test_levels_are_as_long_as_the_real_ones(
    strides: list[int], ups: list[float], size: int
) -> None:
    settings = _settings(strides, ups)
    with torch.device("meta"):
        backbone = BaseBevBackbone(settings, 4)
        x, real = torch.zeros(2, 4, size, size), []
        for block, up in zip(backbone.blocks, backbone.deblocks, strict=True):
            x = block(x)
            real.append(up(x).shape[-1])
    assert level_sizes(settings, size) == real


def test_strides_of_levels() -> None:
    assert level_strides(_settings([1, 2], [1.0, 2.0])) == [1, 1]
    assert level_strides(_settings([2, 2, 2], [0.5, 1.0, 2.0])) == [4, 4, 4]
    assert level_strides(_settings([1, 2], [1.0, 4.0])) == [1, 0.5]
