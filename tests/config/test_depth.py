"""The layers that a config counts, and which section is blamed for too many."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bevdiag.config import load_config
from bevdiag.config.depth import MAX_LAYERS
from bevdiag.errors import ConfigError

_BLOCKS = (
    "set_info: [[36, 4]] # [voxels a set, blocks]",
    "      set_info: [[36, 4]]\n      d_model",
)


def _blamed(altered: Callable[..., Path], *replacements: tuple[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(altered(*replacements))
    assert str(refused.value).endswith(f"expected at most {MAX_LAYERS} in the whole model")
    return refused.value.key


@pytest.mark.parametrize(
    ("old", "new", "section"),
    [
        ("LAYER_NUMS: [5, 5]", f"LAYER_NUMS: [5, {MAX_LAYERS}]", "BACKBONE_2D"),
        ("NUM_HM_CONV: 2", f"NUM_HM_CONV: {MAX_LAYERS}", "DENSE_HEAD"),
        ("NUM_FILTERS: [64, 64]", f"NUM_FILTERS: {[1] * MAX_LAYERS}", "VFE"),
        (
            "NAME: HeightCompression\n",
            f"NAME: HeightCompression\n    HEIGHT_STRIDES: {[1] * MAX_LAYERS}\n",
            "MAP_TO_BEV",
        ),
    ],
)
def test_the_section_with_most_layers_is_blamed(
    altered: Callable[..., Path], old: str, new: str, section: str
) -> None:
    assert _blamed(altered, (old, new)) == f"MODEL.{section}"


def test_the_blocks_of_dsvt_count(altered: Callable[..., Path]) -> None:
    changes = [(old, old.replace("[36, 4]", f"[36, {MAX_LAYERS}]")) for old in _BLOCKS]
    assert _blamed(altered, *changes) == "MODEL.BACKBONE_3D"


def test_a_deep_model_may_stay_below(altered: Callable[..., Path]) -> None:
    load_config(altered(("LAYER_NUMS: [5, 5]", "LAYER_NUMS: [5, 1800]")))
