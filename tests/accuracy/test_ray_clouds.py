"""The clouds of the rows of older stacks and of loops."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bevdiag.accuracy.clouds import CloudOrder
from bevdiag.accuracy.ray_clouds import ray_clouds
from bevdiag.accuracy.shipped import shipped_rows
from bevdiag.scenes.voxels import voxelize


def test_they_give_as_many_voxels_as_were_measured(tmp_path: Path) -> None:
    rows = {row.name: row for row, _ in shipped_rows(Path("cfgs"))}
    row = replace(rows["kitti_models.pointpillar_b4_ddp"], name="row")
    bounds = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)
    order = CloudOrder(row, tmp_path, bounds, 4)
    ray_clouds(order)
    clouds = [np.load(file) for file in order.files]
    assert [cloud.shape for cloud in clouds] == [(20_000, 4)] * 4
    size, grid = (0.16, 0.16, 4.0), (432, 496, 1)
    counts = [len(voxelize(c, bounds, size, grid, 32, 16_000).coords) for c in clouds]
    assert sum(counts) == 27_799
