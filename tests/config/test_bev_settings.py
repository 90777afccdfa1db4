from typing import Any

import pytest
from pydantic import ValidationError

from bevdiag.config.bev_settings import (
    BaseBevBackboneSettings,
    BaseBevResBackboneSettings,
    SparseHeightCompressionSettings,
)

LEVELS = {"NAME": "BaseBEVBackbone", "LAYER_NUMS": [3, 5], "LAYER_STRIDES": [1, 2]}
LEVELS |= {"NUM_FILTERS": [64, 128], "UPSAMPLE_STRIDES": [1, 2], "NUM_UPSAMPLE_FILTERS": [8, 8]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"LAYER_STRIDES": [1]}, "expected 2 entries as in LAYER_NUMS, found 1"),
        ({"NUM_FILTERS": [1, 2, 3]}, "expected 2 entries as in LAYER_NUMS, found 3"),
        ({"UPSAMPLE_STRIDES": [1], "NUM_UPSAMPLE_FILTERS": [1]}, "one a level of .*, found 1"),
        ({"NUM_UPSAMPLE_FILTERS": []}, "expected 2 entries as in UPSAMPLE_STRIDES, found 0"),
        ({"UPSAMPLE_STRIDES": [0, 2], "NUM_UPSAMPLE_FILTERS": [1, 1]}, "greater than 0"),
        ({"UPSAMPLE_STRIDES": [1, 1.5]}, "a whole number, or one below 1, found 1.5"),
        # The original counts the channels of every entry, but joins those of the levels.
        ({"UPSAMPLE_STRIDES": [1, 2, 2], "NUM_UPSAMPLE_FILTERS": [8, 8, 8]}, "found 3"),
        ({"UPSAMPLE_STRIDES": [], "NUM_UPSAMPLE_FILTERS": []}, "made for 0 channels"),
    ],
)
def test_levels_that_do_not_agree_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BaseBevBackboneSettings.model_validate({**LEVELS, **changes})


def test_residual_levels_need_no_upsampling() -> None:
    plain = {"NAME": "BaseBEVResBackbone", "UPSAMPLE_STRIDES": [], "NUM_UPSAMPLE_FILTERS": []}
    assert not BaseBevResBackboneSettings.model_validate({**LEVELS, **plain}).upsample_strides


def test_a_learned_projection_says_what_it_reads() -> None:
    learned = {"NAME": "SparseHeightCompression", "NUM_BEV_FEATURES": 8, "MODE": "learned"}
    with pytest.raises(ValidationError, match="learned needs INPUT_FEATURES"):
        SparseHeightCompressionSettings.model_validate(learned)
    assert SparseHeightCompressionSettings.model_validate({**learned, "INPUT_FEATURES": 64})
