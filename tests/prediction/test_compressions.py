from typing import Any

import pytest

from bevdiag.errors import InputError
from bevdiag.models.bev import LEARNED_CHANNELS, MODES, bev_joint, compression_changes


def _config(small: Any, *overrides: str, compression: str | None = None) -> Any:
    return small.source(overrides=overrides, compression=compression).config


def test_flattening_multiplies_channels_by_height(small: Any) -> None:
    joint = bev_joint(_config(small))
    assert (joint.reads, joint.channels) == ("dsvt", 128)
    assert (joint.depth, joint.height, joint.width) == (10, 20, 40)
    assert joint.declared == joint.real == 1280
    assert joint.flattens
    assert joint.is_volume


@pytest.mark.parametrize(
    ("mode", "channels", "flattens"),
    [
        ("none", 1280, True),
        ("learned", LEARNED_CHANNELS, True),
        *[(mode, 128, False) for mode in MODES if mode not in ("none", "learned")],
    ],
)
def test_every_compression_declares_what_it_makes(
    small: Any, mode: str, channels: int, flattens: bool
) -> None:
    joint = bev_joint(_config(small, compression=mode))
    assert joint.declared == joint.real == channels
    assert joint.flattens is flattens


def test_compressions_can_be_taken_back(small: Any) -> None:
    config = _config(small)
    there = config.edited(compression_changes(config, "learned"))
    back = there.edited(compression_changes(there, "none"))
    assert bev_joint(back) == bev_joint(config)


def test_height_strides_divide_rounding_up(small: Any) -> None:
    joint = bev_joint(_config(small, "MODEL.MAP_TO_BEV.HEIGHT_STRIDES=[4]"))
    assert (joint.depth, joint.real) == (3, 384)
    assert joint.declared == 1280


def test_the_encoders_volume_is_never_pooled(small: Any) -> None:
    joint = bev_joint(_config(small, "MODEL.MAP_TO_BEV.INPUT=encoder"))
    assert (joint.reads, joint.depth, joint.real) == ("encoder", 10, 1280)


def test_an_unknown_compression(small: Any) -> None:
    with pytest.raises(InputError, match="'squash' is unknown: choose from none, max"):
        compression_changes(_config(small), "squash")
