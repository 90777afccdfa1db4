from itertools import product

import numpy as np
import pytest

from bevdiag.sparse.coordinates import Geometry, count_pairs, matching_pairs, output_coordinates

SHAPE = (4, 6, 5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "geometry",
    [
        Geometry((3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0), subm=True),
        Geometry((1, 3, 5), (1, 1, 1), (0, 0, 0), (1, 2, 1), (0, 0, 0), subm=True),
        Geometry((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), (0, 0, 0)),
        Geometry((3, 1, 1), (2, 1, 1), (0, 0, 0), (1, 1, 1), (0, 0, 0)),
        Geometry((2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), (0, 0, 0), transposed=True),
    ],
)
def test_as_many_pairs_as_are_listed(geometry: Geometry, seed: int) -> None:
    cells = np.array(list(product(range(2), *map(range, SHAPE))), np.int32)
    coords = np.random.default_rng(seed).permutation(cells)[:70]
    outputs = coords if geometry.subm else output_coordinates(coords, SHAPE, geometry)
    listed = matching_pairs(coords, outputs, SHAPE, geometry)
    assert count_pairs(coords, SHAPE, geometry) == sum(len(inputs) for inputs, _ in listed)
