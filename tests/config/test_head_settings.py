"""What the heads' settings check across their fields."""

import pytest
from pydantic import ValidationError

from bevdiag.config.head_settings import AnchorHeadSettings, CenterHeadSettings


def anchors(stride):
    return {
        "class_name": "Car",
        "anchor_sizes": [[3.9, 1.6, 1.56], [10.0, 2.6, 3.2]],
        "anchor_rotations": [0, 1.57],
        "anchor_bottom_heights": [-1.78],
        "feature_map_stride": stride,
        "matched_threshold": 0.6,
        "unmatched_threshold": 0.45,
    }


def anchor_head(*, strides=(8, 8), codes=7, coder=None, first=None):
    classes = [anchors(stride) for stride in strides]
    classes[0] |= first or {}
    return {
        "NAME": "AnchorHeadSingle",
        "ANCHOR_GENERATOR_CONFIG": classes,
        "TARGET_ASSIGNER_CONFIG": {
            "NAME": "AxisAlignedTargetAssigner",
            "NORM_BY_NUM_EXAMPLES": False,
            "BOX_CODER": "ResidualCoder",
            "BOX_CODER_CONFIG": coder or {},
        },
        "LOSS_CONFIG": {"LOSS_WEIGHTS": {"code_weights": [1.0] * codes}},
    }


def test_anchors_are_counted_a_cell():
    head = AnchorHeadSettings.model_validate(anchor_head())
    assert head.num_anchors == 2 * (2 * 2 * 1)
    assert head.target_assigner_config.box_coder_config.num_codes == 7


def test_an_angle_as_sine_and_cosine_is_one_more_code():
    coder = {"code_size": 9, "encode_angle_by_sincos": True}
    head = AnchorHeadSettings.model_validate(anchor_head(codes=10, coder=coder))
    assert head.target_assigner_config.box_coder_config.num_codes == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (8, 4)}, r"one feature_map_stride for all classes, found \[4, 8\]"),
        ({"codes": 8}, "expected 7 entries, one a code of a box, found 8"),
        ({"first": {"anchor_rotations": [0]}}, r"as many anchor_rotations .*, found \[1, 2\]"),
        ({"first": {"anchor_bottom_heights": [0, 1]}}, r"as many anchor_bottom_heights"),
    ],
)
def test_anchors_that_do_not_agree(changes, message):
    with pytest.raises(ValidationError, match=message):
        AnchorHeadSettings.model_validate(anchor_head(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iou_reg": True}, "expected an iou branch in HEAD_DICT beside it"),
        ({"weights": 10}, "expected 8 entries, one a channel of HEAD_ORDER's branches, found 10"),
        ({"dim": 2}, "expected 3, as a box is coded, found 2"),
        ({"order": ["center", "center_z", "dim"]}, "expected rot among its branches"),
    ],
)
def test_branches_that_do_not_agree(changes, message):
    with pytest.raises(ValidationError, match=message):
        CenterHeadSettings.model_validate(center_head(**changes))


def center_head(*, iou_reg=False, weights=8, dim=3, order=None):
    widths = {"center": 2, "center_z": 1, "dim": dim, "rot": 2}
    return {
        "NAME": "CenterHead",
        "CLASS_NAMES_EACH_HEAD": [["Car"]],
        "IOU_REG_LOSS": iou_reg,
        "SEPARATE_HEAD_CFG": {
            "HEAD_ORDER": order or list(widths),
            "HEAD_DICT": {
                name: {"out_channels": width, "num_conv": 2} for name, width in widths.items()
            },
        },
        "TARGET_ASSIGNER_CONFIG": {"FEATURE_MAP_STRIDE": 1},
        "LOSS_CONFIG": {"LOSS_WEIGHTS": {"code_weights": [1.0] * weights}},
    }
