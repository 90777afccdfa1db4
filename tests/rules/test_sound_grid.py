"""One edit makes a grid sound, whatever was wrong with it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bevdiag.config import read_document
from bevdiag.config.edits import flow
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction
from bevdiag.rules.checks import check_config
from bevdiag.rules.finding import Severity
from bevdiag.rules.sound_grid import GRID_CODES, grid_faults, sound_grid

FOLDER = Path(__file__).parent
MODELS = ("second.yaml", "pointpillar.yaml", "dsvt.yaml", "focal_dsvt.yaml")
RANGE = "DATA_CONFIG.POINT_CLOUD_RANGE"


def _drawn() -> Iterator[tuple[str, list[float]]]:
    draw = random.Random(15)
    for number in range(12):
        low = [draw.uniform(-60, 0), draw.uniform(-60, -5), draw.uniform(-5, -1)]
        high = [draw.uniform(10, 80), draw.uniform(5, 60), draw.uniform(0, 5)]
        yield MODELS[number % len(MODELS)], [round(value, 2) for value in (*low, *high)]


@pytest.mark.parametrize(("model", "bounds"), list(_drawn()))
def test_the_offered_edit_passes_every_rule_at_once(model: str, bounds: list[float]) -> None:
    path = FOLDER / model
    bad = read_document(path, (f"{RANGE}={bounds}",))
    assert grid_faults(bad)
    found = check_config(path, bad)
    edits = next(finding.offered_edits for finding in found if finding.offered_edits)
    overrides = tuple(f"{key}={value}" for key, value in edits.items())
    edited = read_document(path, (f"{RANGE}={bounds}", *overrides))
    assert grid_faults(edited) == ()
    left = [f for f in check_config(path, edited) if f.severity is not Severity.INFO]
    assert left == []


@pytest.mark.parametrize("model", MODELS)
def test_what_is_offered_traces(model: str) -> None:
    bounds = f"{RANGE}=[-3.33, -2.27, -2.02, 6.51, 7.12, -0.08]"
    edits = sound_grid(read_document(FOLDER / model, (bounds,)))
    assert edits
    overrides = (bounds, *(f"{'.'.join(path)}={flow(value)}" for path, value in edits.items()))
    options = InspectOptions(device="meta", batch_size=1, overrides=overrides, remedies=False)
    report = inspect(FOLDER / model, options, lambda what, share: None)
    assert isinstance(report, Prediction)
    assert report.peak.allocated_bytes > 0
    assert not {one.code for one in report.findings} & set(GRID_CODES)


def test_the_bounds_of_a_camera_branch_follow_the_range() -> None:
    bad = read_document(FOLDER / "BEV110" / "bad.yaml", (f"{RANGE}=[0, -7.3, -3, 9.1, 8.8, 1]",))
    edited = bad.edited(sound_grid(bad))
    assert grid_faults(edited) == ()
    bounds, camera = edited.get(RANGE), edited.get("MODEL.VTRANSFORM.XBOUND")
    assert isinstance(bounds, tuple)
    assert isinstance(camera, tuple)
    assert camera[:2] == (bounds[0], bounds[3])


def test_the_edit_stays_near_and_keeps_the_sensors_height() -> None:
    bad = read_document(FOLDER / "second.yaml", (f"{RANGE}=[0, -8.05, -2.02, 14.69, 8.32, -0.08]",))
    changes = sound_grid(bad)
    bounds = changes["DATA_CONFIG", "POINT_CLOUD_RANGE"]
    assert isinstance(bounds, tuple)
    size = next(value for path, value in changes.items() if path[-1] == "VOXEL_SIZE")
    assert isinstance(size, tuple)
    for axis, stride in ((0, 16), (1, 16)):
        cells = (bounds[axis + 3] - bounds[axis]) / size[axis]
        assert cells == pytest.approx(stride * round(cells / stride))
    assert bounds[3] == pytest.approx(14.69, abs=8 * size[0])
    assert bounds[4] == pytest.approx(8.32, abs=8 * size[1])
    assert bounds[5] == pytest.approx(-0.08, abs=0.1)


def test_a_range_about_the_sensor_stays_about_it() -> None:
    bad = read_document(FOLDER / "second.yaml", (f"{RANGE}=[-20.3, -20.3, -3, 20.3, 20.3, 1]",))
    bounds = sound_grid(bad)["DATA_CONFIG", "POINT_CLOUD_RANGE"]
    assert isinstance(bounds, tuple)
    assert (bounds[0], bounds[1]) == (-bounds[3], -bounds[4])


def test_channels_alone_are_declared_anew_and_no_voxel_moves() -> None:
    bad = read_document(FOLDER / "second.yaml", ("MODEL.MAP_TO_BEV.NUM_BEV_FEATURES=200",))
    assert list(sound_grid(bad)) == [("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES")]


def test_a_sound_grid_is_left_alone() -> None:
    assert sound_grid(read_document(FOLDER / "second.yaml")) == {}
    assert all(not f.edits for f in check_config(FOLDER / "second.yaml", read_document(
        FOLDER / "second.yaml")))  # fmt: skip
