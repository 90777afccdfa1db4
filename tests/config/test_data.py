import pytest

from bevdiag.config.data import (
    MOST_FRAMES,
    PADDED,
    frame_settings,
    read_data,
)
from bevdiag.errors import ConfigError

GOOD = """
DATA_CONFIG:
  DATASET: KittiDataset
  POINT_CLOUD_RANGE: [0, -40, -3, 70.4, 40, 1]
  POINT_FEATURE_ENCODING:
    used_feature_list: [x, y, z, intensity]
  DATA_PROCESSOR:
    - NAME: shuffle_points
    - NAME: transform_points_to_voxels
      VOXEL_SIZE: [0.05, 0.05, 0.1]
      MAX_POINTS_PER_VOXEL: 5
      MAX_NUMBER_OF_VOXELS: {train: 16000, test: 40000}
"""
STEP = "DATA_CONFIG.DATA_PROCESSOR.1"


def error(parse, old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigError) as raised:
        read_data(parse(GOOD.replace(old, new)))
    return str(raised.value)


def test_padded_voxels(parse):
    data = read_data(parse(GOOD))
    assert data.grid_size == (1408, 1600, 40)
    assert (data.max_points_per_voxel, data.max_voxels) == (5, 16000)
    assert data.point_features == ("x", "y", "z", "intensity")


def test_one_number_of_voxels_is_for_training_too(parse):
    text = GOOD.replace("{train: 16000, test: 40000}", "123")
    assert read_data(parse(text)).max_voxels == 123


def test_dynamic_voxels_have_no_caps(parse):
    text = GOOD.replace("transform_points_to_voxels", "transform_points_to_voxels_placeholder")
    data = read_data(parse(text))
    assert (data.max_points_per_voxel, data.max_voxels) == (None, None)
    assert data.grid_size == (1408, 1600, 40)


def test_a_grid_of_broken_voxels_is_placed_at_the_voxel_size(parse):
    message = error(parse, "[0.05, 0.05, 0.1]", "[0.05, 0.05, 15]")
    assert message.startswith(f"c.yaml:10:19: {STEP}.VOXEL_SIZE: z: 4 m / 15 m = 0.266667 voxels")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "0.05, 0.1]",
            "-0.05, 0.1]",
            f"c.yaml:10:19: {STEP}.VOXEL_SIZE: y is -0.05 m: expected more than 0",
        ),
        ("0.05, 0.1]", "0.05, 0]", f"{STEP}.VOXEL_SIZE: z is 0 m: expected more than 0"),
        (
            "0.05, 0.1]",
            "0.05, .nan]",
            f"c.yaml:10:32: {STEP}.VOXEL_SIZE.2: expected a number that is finite, found nan",
        ),
        (
            "0.05, 0.1]",
            "0.05]",
            f"c.yaml:10:19: {STEP}.VOXEL_SIZE: expected a list of 3 numbers, found a list of 2",
        ),
        (
            "0.05, 0.1]",
            "0.05, 0.1, 1]",
            f"{STEP}.VOXEL_SIZE: expected a list of 3 numbers, found a list of 4",
        ),
        (
            "[0, -40, -3, 70.4, 40, 1]",
            "[0, 40, -3, 70.4, -40, 1]",
            "c.yaml:4:22: DATA_CONFIG.POINT_CLOUD_RANGE: y starts at 40 and ends at -40: expected "
            "[x_min, y_min, z_min, x_max, y_max, z_max]",
        ),
        (
            "[0, -40, -3, 70.4, 40, 1]",
            "{a: 1}",
            "DATA_CONFIG.POINT_CLOUD_RANGE: expected a list of 6 numbers, found a mapping",
        ),
        (
            "transform_points_to_voxels",
            "transform_points",
            "DATA_CONFIG.DATA_PROCESSOR: expected a list with a module named "
            "transform_points_to_voxels or transform_points_to_voxels_placeholder",
        ),
        (
            "[x, y, z, intensity]",
            "[x, z, y, intensity]",
            "used_feature_list: expected x, y, z first, found x, z, y, intensity",
        ),
        ("{train: 16000, test: 40000}", "{test: 40000}", f"{STEP}.MAX_NUMBER_OF_VOXELS.train: is"),
        (
            "{train: 16000, test: 40000}",
            "lots",
            "c.yaml:12:29: "
            f"{STEP}.MAX_NUMBER_OF_VOXELS: expected a mapping of keys to values, found the text "
            "'lots'",
        ),
        (
            "{train: 16000, test: 40000}",
            "0",
            f"c.yaml:12:29: {STEP}.MAX_NUMBER_OF_VOXELS: expected a whole number above 0, found 0",
        ),
        (
            "{train: 16000, test: 40000}",
            "yes",
            f"{STEP}.MAX_NUMBER_OF_VOXELS: expected a whole number, found true",
        ),
        ("16000", "0", f"{STEP}.MAX_NUMBER_OF_VOXELS.train: expected a whole number above 0, f"),
        ("16000", "4294967296", "expected a whole number below 2147483648, found 4294967296"),
        (
            "DATASET: KittiDataset",
            "MAX_SWEEPS: '10'",
            "c.yaml:3:15: DATA_CONFIG.MAX_SWEEPS: expected a whole number, found the text '10'",
        ),
        ("DATASET: KittiDataset", "MAX_SWEEPS: 65", "expected a whole number of at most 64"),
        (
            "MAX_POINTS_PER_VOXEL: 5",
            "MAX_POINTS_PER_VOXEL: true",
            f"c.yaml:11:29: {STEP}.MAX_POINTS_PER_VOXEL: expected a whole number, found true",
        ),
        (
            "MAX_POINTS_PER_VOXEL",
            "MAX_POINT_PER_VOXEL",
            f"{STEP}.MAX_POINTS_PER_VOXEL: is missing: expected a whole number; "
            "'MAX_POINT_PER_VOXEL' stands there: write MAX_POINTS_PER_VOXEL",
        ),
    ],
)
def test_what_is_wrong_and_where(parse, old, new, message):
    assert message in error(parse, old, new)


def test_no_data_at_all(parse):
    with pytest.raises(ConfigError) as raised:
        read_data(parse("A: 1"))
    lines = str(raised.value).splitlines()
    assert lines == [
        "c.yaml:1:1: DATA_CONFIG.POINT_CLOUD_RANGE: is missing: expected a list of 6 numbers",
        "c.yaml:1:1: DATA_CONFIG.POINT_FEATURE_ENCODING: is missing: expected a mapping of keys "
        "to values",
    ]


@pytest.mark.parametrize(
    ("section", "frames"),
    [
        ({}, 1),
        (None, 1),
        ({"MAX_SWEEPS": 10}, 10),
        ({"MAX_SWEEPS": "ten"}, 1),
        ({"MAX_SWEEPS": 10**9}, MOST_FRAMES),
        ({"SEQUENCE_CONFIG": {"ENABLED": True, "SAMPLE_OFFSET": (-3, 0)}}, 4),
        ({"SEQUENCE_CONFIG": {"ENABLED": False, "SAMPLE_OFFSET": (-3, 0)}}, 1),
        ({"SEQUENCE_CONFIG": {"ENABLED": True, "SAMPLE_OFFSET": "all"}}, 1),
    ],
)
def test_sweeps_and_frames_are_counted(section, frames):
    assert frame_settings(section).frames == frames


def test_the_objects_that_are_pasted_are_counted() -> None:
    entry = {"NAME": "gt_sampling", "SAMPLE_GROUPS": ["Car:2", "Cyclist: 1"]}
    augmentor = {"AUG_CONFIG_LIST": [{"NAME": "random_world_flip"}, entry]}
    assert frame_settings({"DATA_AUGMENTOR": augmentor}).pasted == ("Car", "Car", "Cyclist")
    disabled = augmentor | {"DISABLE_AUG_LIST": ["gt_sampling"]}
    huge = {"AUG_CONFIG_LIST": [entry | {"SAMPLE_GROUPS": ["Car:999999999"]}]}
    assert len(frame_settings({"DATA_AUGMENTOR": huge}).pasted) == 100
    odd = {"AUG_CONFIG_LIST": [entry | {"SAMPLE_GROUPS": ["Car", "Car:x", 4]}, None]}
    for written in (None, {}, {"DATA_AUGMENTOR": disabled}, {"DATA_AUGMENTOR": odd}):
        assert frame_settings(written).pasted == ()


def test_the_files_columns_and_the_shuffling_are_read() -> None:
    encoding = {"src_feature_list": ["x", "y", "z", "rcs"]}
    settings = frame_settings({"DATASET": "Mine", "POINT_FEATURE_ENCODING": encoding})
    assert (settings.dataset, settings.stored) == ("Mine", ("x", "y", "z", "rcs"))
    for written in (None, {}, {"POINT_FEATURE_ENCODING": {"src_feature_list": 4}}):
        assert frame_settings(written).stored == ()


@pytest.mark.parametrize(
    ("processors", "shuffles"),
    [
        ([{"NAME": "shuffle_points", "SHUFFLE_ENABLED": {"train": True, "test": False}}], True),
        ([{"NAME": "shuffle_points", "SHUFFLE_ENABLED": {"train": False, "test": True}}], False),
        ([{"NAME": PADDED}, {"NAME": "shuffle_points", "SHUFFLE_ENABLED": {"train": True}}], False),
        (["shuffle_points", None], False),
        ("shuffle_points", False),
    ],
)
def test_points_are_shuffled_where_training_does_before_the_voxels(
    processors: object, shuffles: bool
) -> None:
    assert frame_settings({"DATA_PROCESSOR": processors}).shuffled is shuffles
