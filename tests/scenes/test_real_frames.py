"""The common synthetic frame holds about what public real frames were counted to hold."""

import json
from pathlib import Path
from statistics import median

import pytest

from bevdiag.scenes.datasets import DATA_SETS
from bevdiag.scenes.scenario import Scenario
from bevdiag.scenes.statistics import CellGrid, counted
from bevdiag.scenes.street import street

FRAMES = json.loads(
    (Path(__file__).parents[1] / "data" / "scene_frames.json").read_text(encoding="utf-8")
)["frames"]
VOXELS = {
    "KITTI": (0.05, 0.05, 0.1),
    "Waymo": (0.1, 0.1, 0.15),
    "nuScenes": (0.075, 0.075, 0.2),
    "Argoverse 2": (0.1, 0.1, 0.2),
    "View-of-Delft radar": (0.16, 0.16, 5.0),
}


@pytest.mark.parametrize("name", VOXELS)
def test_the_common_frame_is_near_the_real_ones(name: str) -> None:
    data_set = DATA_SETS[name]
    grid = CellGrid(point_cloud_range=data_set.usual_range, voxel_size=VOXELS[name])
    real = [frame for frame in FRAMES if frame["data_set"] == name]
    low, expected, high = (
        counted(street(data_set, 1, data_set.usual_range, 3, 0, scenario), grid)
        for scenario in Scenario
    )
    assert expected.points == pytest.approx(median(f["points"] for f in real), rel=0.2)
    for stride in range(4):
        cells = median(frame["cells"][stride] for frame in real)
        assert expected.cells[stride] == pytest.approx(cells, rel=0.2)
    assert low.cells[2] < median(frame["cells"][2] for frame in real) < high.cells[2]
