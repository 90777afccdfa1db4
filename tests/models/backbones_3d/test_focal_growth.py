import itertools

import numpy as np
import pytest

from bevdiag.models.backbones_3d.focal_growth import (
    FocalDecision,
    count,
)
from tests.models.backbones_3d.focal_voxels import OFFSETS, SHAPE, random_coords


@pytest.mark.parametrize("seed", range(4))
def test_no_decision_exceeds_the_upper_bound(seed):
    coords = random_coords(seed)
    cells = {tuple(c) for c in coords}
    for voxel, step in itertools.product(coords, OFFSETS.int().numpy()):
        cell = voxel + np.insert(step, 0, 0)
        if (cell[1:] > 0).all() and (cell[1:] < SHAPE).all():
            cells.add(tuple(cell))
    everything = FocalDecision(np.ones(len(coords), bool), np.ones((len(coords), 26), bool))
    assert 0.95 * len(cells) <= count(coords, everything, SHAPE, 2) <= len(cells)
