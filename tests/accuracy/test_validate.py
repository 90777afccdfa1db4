import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from bevdiag.accuracy.outcome import MeasuredOn
from bevdiag.accuracy.rows import read_rows
from bevdiag.accuracy.validate import rows_to_predict, validate
from bevdiag.errors import InputError
from bevdiag.prediction.built_in import BuiltIn

REPOSITORY = Path(__file__).parents[1] / "source" / "repo"

SCENES = """
    import sys
    import numpy as np
    prefix, batch = sys.argv[2], int(sys.argv[sys.argv.index("--batch") + 1])
    low, high = [0.0, -20.0, -20.0], [50.0, 20.0, 15.0]
    for i in range(batch):
        r = np.random.default_rng(i)
        points = np.c_[r.uniform(low, high, (300, 3)), r.random(300)]
        np.save(f"{prefix}{i}.npy", points.astype(np.float32))
"""


def focal_row(**changes: Any) -> dict[str, Any]:
    row = {
        "height_compression": "sparse_max",
        "batch_size": 1,
        "cudnn_64bit_indexing": True,
        "bev_reads": "encoder",
        "autocast": "off",
        "points_per_sample": 300,
        "max_points_per_voxel": 8,
        "max_voxels": 300,
        "params": 6_508_810,
        "peak_allocated_bytes": 10**9,
        "max_reserved_bytes": 2 * 10**9,
        "sparse_layers": [{"name": "x.conv_focal.0", "num_out": 1000}],
    }
    return row | changes


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    folder = tmp_path / "truth"
    folder.mkdir()
    (folder / "scenes.py").write_text(textwrap.dedent(SCENES))
    rows = {
        "good": focal_row(),
        "stopped": {k: v for k, v in focal_row().items() if k != "peak_allocated_bytes"},
        "unreachable": focal_row(sparse_layers=[{"name": "conv_focal", "num_out": 10**7}]),
    }
    file = folder / "rows.json"
    file.write_text(json.dumps(rows))
    return file


def nothing(what: str, share: float) -> None:
    assert 0 <= share <= 1


def test_rows_are_predicted_as_a_user_would(rows_file: Path) -> None:
    shipped = Path(__file__).parents[2] / "configs" / "focalsst_dsvt.yaml"
    validation = validate([rows_file], shipped, MeasuredOn(), nothing)
    good, unreachable = validation.outcomes
    assert good.row.name == "good"
    assert good.params == 6_508_810
    assert good.error == ""
    assert good.low_bytes is not None
    assert good.allocated_bytes is not None
    assert good.high_bytes is not None
    assert good.low_bytes <= good.allocated_bytes <= good.high_bytes
    assert good.allocated_error == pytest.approx((good.allocated_bytes - 10**9) / 10**9)
    assert validation.median_error == validation.max_error == abs(good.allocated_error)
    assert "cannot be reached" in unreachable.error
    assert validation.predicted == (good,)


def test_rows_say_which_steps_their_counts_are_of(rows_file: Path) -> None:
    site = "backbone_3d.focal_encoder.kept_voxels"
    by_step = {f"{site}@1": 1000, f"{site}@2": 900}
    rows = {
        "first": focal_row(first_step_peak_allocated_bytes=7),
        "all": focal_row(first_step_peak_allocated_bytes=7, kept_voxels=by_step),
    }
    rows_file.write_text(json.dumps(rows))
    first, settled = read_rows(rows_file, None)
    assert (first.pins, first.first_step_bytes) == ({site: 1000}, 7)
    assert (settled.pins, settled.first_step_bytes) == (by_step, None)


def test_rows_say_what_stood_for_a_packages_operators(rows_file: Path) -> None:
    by_pytorch = {"torch_scatter": "scatter_reduce"}
    rows = {"one": focal_row(replaced=by_pytorch), "two": focal_row()}
    rows_file.write_text(json.dumps(rows))
    assert [row.replaced for row in read_rows(rows_file, None)] == [by_pytorch, {}]
    named = rows_to_predict([rows_file], None, None, {"torch_scatter": "scatter_reduce"})
    assert [row.replaced for row, _ in named] == [by_pytorch, by_pytorch]
    rows_file.write_text(json.dumps({"one": focal_row(replaced={"torch_scatter": "other"})}))
    with pytest.raises(InputError, match="torch_scatter=scatter_reduce is"):
        read_rows(rows_file, None)


def test_a_run_that_was_stopped_is_no_row(rows_file: Path) -> None:
    assert [row.name for row in read_rows(rows_file, None)] == ["good", "unreachable"]


def test_what_is_no_rows_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    for text in ("{", "[]", '{"a": {"peak_allocated_bytes": 1}}'):
        file.write_text(text)
        with pytest.raises(InputError, match=r"rows\.json"):
            read_rows(file, None)


def test_a_missing_scene_script_is_an_outcome(rows_file: Path) -> None:
    (rows_file.parent / "scenes.py").unlink()
    shipped = Path(__file__).parents[2] / "configs" / "focalsst_dsvt.yaml"
    outcomes = validate([rows_file], shipped, MeasuredOn(), nothing).outcomes
    assert all("scenes.py" in outcome.error for outcome in outcomes)


def fork_row(**changes: Any) -> dict[str, Any]:
    row = {
        "fork": "Toy",
        "config": "models/one_stage.yaml",
        "batch_size": 1,
        "points_per_sample": 300,
        "autocast": "off",
        "params": 1,
        "peak_allocated_bytes": 10**9,
        "first_step_peak_allocated_bytes": 10**8,
        "max_reserved_bytes": 2 * 10**9,
    }
    return row | changes


def test_a_forks_row_is_predicted_with_the_forks_code(
    rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built_in(*_: Any) -> BuiltIn:
        raise AssertionError("a fork may mean its own modules by the names that are built in")

    monkeypatch.setattr(BuiltIn, "read", built_in)
    rows_file.write_text(json.dumps({"a fork's": fork_row(), "no fork's": fork_row(fork="")}))
    configs = REPOSITORY / "tools" / "cfgs"
    validation = validate([rows_file], configs, MeasuredOn(), nothing, REPOSITORY)
    for outcome in validation.outcomes:
        assert outcome.error == ""
        assert outcome.with_source
        assert outcome.first_step_bytes is not None
        assert outcome.first_step_error == pytest.approx(outcome.first_step_bytes / 10**8 - 1)


def test_a_forks_row_without_its_code_asks_for_it(rows_file: Path) -> None:
    rows_file.write_text(json.dumps({"one": fork_row()}))
    configs = REPOSITORY / "tools" / "cfgs"
    (outcome,) = validate([rows_file], configs, MeasuredOn(), nothing).outcomes
    assert "Toy's code: name its checkout" in outcome.error
