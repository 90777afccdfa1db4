from pathlib import Path

import pytest

from bevdiag.errors import ConfigError
from bevdiag.source.settings import read_source_config

HEAD = "CLASS_NAMES: ['Box']\n"
DATA = """
DATA_CONFIG:
  POINT_CLOUD_RANGE: [0, -40, -3, 70.4, 40, 1]
  POINT_FEATURE_ENCODING: {used_feature_list: ['x', 'y', 'z', 'intensity']}
"""


def read(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return file


def test_the_voxelizer_s_numbers(tmp_path: Path) -> None:
    processor = """
  DATA_PROCESSOR:
    - {NAME: shuffle_points}
    - NAME: transform_points_to_voxels
      VOXEL_SIZE: [0.05, 0.05, 0.1]
      MAX_POINTS_PER_VOXEL: 5
      MAX_NUMBER_OF_VOXELS: {train: 16000, test: 40000}
MODEL: {NAME: Anything, HEAD: {LIST: [[1, 2], [3]]}}
"""
    settings = read_source_config(read(tmp_path, HEAD + DATA + processor))
    assert settings.grid_size == (1408, 1600, 40)
    assert settings.voxel_size == (0.05, 0.05, 0.1)
    assert (settings.max_points, settings.max_voxels) == (5, 16000)
    tested = read_source_config(tmp_path / "config.yaml", split="test")
    assert tested.max_voxels == 40000
    assert settings.num_sampled_points is None
    assert settings.box_size == 7
    assert settings.values()["MODEL"]["HEAD"]["LIST"] == [[1, 2], [3]]


def test_points_alone(tmp_path: Path) -> None:
    processor = "  DATA_PROCESSOR: [{NAME: sample_points, NUM_POINTS: {train: 16384, test: 1}}]\n"
    file = read(tmp_path, HEAD + DATA + processor)
    settings = read_source_config(file)
    assert settings.grid_size is None
    assert settings.num_sampled_points == 16384
    assert read_source_config(file, split="test").num_sampled_points == 1


def test_a_grid_without_hard_voxels_and_boxes_with_a_velocity(tmp_path: Path) -> None:
    processor = """  PRED_VELOCITY: true
  DATA_PROCESSOR: [{NAME: transform_points_to_voxels_placeholder, VOXEL_SIZE: [0.3, 0.3, 4]}]
"""
    settings = read_source_config(read(tmp_path, HEAD + DATA + processor))
    assert settings.grid_size == (235, 267, 1)
    assert settings.max_points is None
    assert settings.box_size == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "DATA_CONFIG"),
        (DATA, "CLASS_NAMES"),
        (HEAD + "DATA_CONFIG: {POINT_FEATURE_ENCODING: {}}\n", "POINT_CLOUD_RANGE"),
        (HEAD + "DATA_CONFIG: {POINT_CLOUD_RANGE: [0, 1]}\n", "POINT_FEATURE_ENCODING"),
    ],
)
def test_what_is_missing_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read_source_config(read(tmp_path, text))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("POINT_CLOUD_RANGE", "[a, b, c, d, e, f]", "expected a number, found the text 'a'"),
        ("POINT_CLOUD_RANGE", "[0, 0, 0, 0, 0, 0]", "x starts at 0 and ends at 0"),
        ("POINT_FEATURE_ENCODING.used_feature_list", "4", "expected a list of texts, found 4"),
        ("POINT_FEATURE_ENCODING.used_feature_list", "[x]", "a list of texts, at least 3"),
        ("DATA_PROCESSOR", "[1]", "expected a mapping of keys to values, found 1"),
        ("DATA_PROCESSOR", "some", "expected a list of mappings, found the text 'some'"),
        ("DATA_PROCESSOR.0.VOXEL_SIZE", "[0, 1, 1]", "expected at least 1 and fewer"),
        ("DATA_PROCESSOR.0.VOXEL_SIZE", "[1, 1]", "expected a list of 3 numbers"),
        ("DATA_PROCESSOR.0.VOXEL_SIZE", "x", "expected a list of 3 numbers, found the text 'x'"),
        ("DATA_PROCESSOR.0.MAX_NUMBER_OF_VOXELS", "lots", "expected a mapping of keys"),
        ("DATA_PROCESSOR.0.MAX_NUMBER_OF_VOXELS", "{}", "train: is missing: expected a whole"),
        ("DATA_PROCESSOR.0.MAX_NUMBER_OF_VOXELS", "{train: 9}", "test: is missing: expected a wh"),
    ],
)
def test_what_makes_no_sense_is_placed(key: str, value: str, said: str, tmp_path: Path) -> None:
    processor = """
  DATA_PROCESSOR:
    - {NAME: voxels, VOXEL_SIZE: [1, 1, 4], MAX_POINTS_PER_VOXEL: 5, MAX_NUMBER_OF_VOXELS: 9}
"""
    file = read(tmp_path, HEAD + DATA + processor)
    with pytest.raises(ConfigError) as raised:
        read_source_config(file, (f"DATA_CONFIG.{key}={value}",), split="test")
    assert said in str(raised.value)
    assert "--set:1" in str(raised.value)
