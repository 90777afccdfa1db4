from pathlib import Path

import pytest
import torch

from bevdiag.config import load_config
from bevdiag.config.bev_settings import BaseBevBackboneSettings
from bevdiag.models.backbones_2d.base_bev_backbone import BaseBevBackbone
from bevdiag.models.interfaces import level_sizes, level_strides, uses_direct_table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("config", "used"),
    [("configs/focalsst_dsvt.yaml", True), ("tests/rules/second.yaml", False)],
)
def test_openpcdet_finds_outputs_by_sorting_and_its_older_fork_with_a_table(
    config: str, used: bool
) -> None:
    assert uses_direct_table(load_config(ROOT / config).model) is used


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
