"""Output voxels of a measured step's layers, from the measured rows' own scenes."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from bevdiag.scenes import voxelize
from bevdiag.sparse.coordinates import Geometry, output_coordinates

TRUTH = Path(__file__).resolve().parents[2].parent / "shared" / "truth"
KITTI = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
# OpenPCDet's VoxelBackBone8x: layer, kernel, stride, padding.
LAYERS = (
    ("backbone_3d.conv2.0.0", (3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ("backbone_3d.conv3.0.0", (3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ("backbone_3d.conv4.0.0", (3, 3, 3), (2, 2, 2), (0, 1, 1)),
    ("backbone_3d.conv_out.0", (3, 1, 1), (2, 1, 1), (0, 0, 0)),
)


@pytest.mark.skipif(not TRUTH.is_dir(), reason="the measured rows are not beside this checkout")
@pytest.mark.parametrize("row", ["kitti_models.second_b1", "kitti_models.second_b4"])
def test_layers_have_the_measured_voxels(row: str) -> None:
    measured = json.loads((TRUTH / "openpcdet_h200.json").read_text())[row]
    spec = importlib.util.spec_from_file_location("truth_scenes", TRUTH / "scenes.py")
    assert spec is not None
    assert spec.loader is not None
    truth = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(truth)
    cells = []
    for sample in range(measured["batch_size"]):
        points = truth.lidar(np.array(KITTI, np.float32), 20_000, sample, 4)
        voxels = voxelize(points, KITTI, (0.05, 0.05, 0.1), (1408, 1600, 40), 5, 16_000)
        cells.append(np.insert(voxels.coords, 0, sample, axis=1))
    coordinates, shape = np.concatenate(cells), [41, 1600, 1408]
    expected = {layer["name"]: layer for layer in measured["sparse_layers"]}

    assert len(coordinates) == measured["num_voxels"]
    for name, kernel, stride, padding in LAYERS:
        geometry = Geometry(kernel, stride, padding, (1, 1, 1), (0, 0, 0))
        coordinates = output_coordinates(coordinates, shape, geometry)
        shape = geometry.output_shape(shape)

        assert shape == expected[name]["spatial_shape"]
        # The scenes' trigonometry may round differently on the machine that measured, which moves
        # single points over a cell's edge.
        assert abs(len(coordinates) - expected[name]["num_out"]) <= 2
