from typing import Any

import pytest

from bevdiag.errors import InputError
from bevdiag.models.interfaces import LEARNED_CHANNELS, MODES, compression_changes, map_input_of
from tests import small_model

small = small_model.small


def _config(small: Any, *overrides: str, compression: str | None = None) -> Any:
    return small.source(overrides=overrides, compression=compression).config


def test_flattening_multiplies_channels_by_height(small: Any) -> None:
    map_input = map_input_of(_config(small))
    assert (map_input.reads, map_input.channels) == ("dsvt", 128)
    assert (map_input.depth, map_input.height, map_input.width) == (10, 20, 40)
    assert map_input.declared == map_input.real == 1280
    assert map_input.flattens
    assert map_input.is_volume


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
    map_input = map_input_of(_config(small, compression=mode))
    assert map_input.declared == map_input.real == channels
    assert map_input.flattens is flattens


def test_compressions_can_be_taken_back(small: Any) -> None:
    config = _config(small)
    there = config.edited(compression_changes(config, "learned"))
    back = there.edited(compression_changes(there, "none"))
    assert map_input_of(back) == map_input_of(config)


def test_height_strides_divide_rounding_up(small: Any) -> None:
    map_input = map_input_of(_config(small, "MODEL.MAP_TO_BEV.HEIGHT_STRIDES=[4]"))
    assert (map_input.depth, map_input.real) == (3, 384)
    assert map_input.declared == 1280


def test_the_encoders_volume_is_never_pooled(small: Any) -> None:
    map_input = map_input_of(_config(small, "MODEL.MAP_TO_BEV.INPUT=encoder"))
    assert (map_input.reads, map_input.depth, map_input.real) == ("encoder", 10, 1280)


def test_an_unknown_compression(small: Any) -> None:
    with pytest.raises(InputError, match="'squash' is unknown: choose from none, max"):
        compression_changes(_config(small), "squash")
