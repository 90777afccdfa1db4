import pytest
from pydantic import ValidationError

from bevdiag.config.backbone_settings import (
    PointNetVfeSettings,
    VoxelBackboneSettings,
    VoxelFocalBackboneSettings,
)


@pytest.mark.parametrize(("written", "read"), [(1, (1, 1, 1)), ([1, 0, 0], (1, 0, 0))])
def test_one_number_of_padding_is_that_of_all_axes(written: object, read: tuple[int, ...]) -> None:
    made = VoxelBackboneSettings.model_validate({"NAME": "VoxelBackBone8x", "last_pad": written})
    assert made.last_pad == read


def test_a_share_of_foreground_lies_between_0_and_1() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        VoxelFocalBackboneSettings.model_validate({"NAME": "VoxelBackBone8xFocal", "THRESHOLD": 2})


def test_a_point_keeps_half_of_a_layers_filters() -> None:
    keys = {"NAME": "PillarVFE", "USE_NORM": True, "WITH_DISTANCE": False, "USE_ABSLOTE_XYZ": True}
    PointNetVfeSettings.model_validate({**keys, "NUM_FILTERS": [64, 33]})
    with pytest.raises(ValidationError, match="expected an even number, found 33"):
        PointNetVfeSettings.model_validate({**keys, "NUM_FILTERS": [33, 64]})
