import numpy as np
import pytest

from bevdiag.config.grid import grid_of as grid
from bevdiag.config.grid import misfit, whole_voxels


def test_decimals_that_no_float_holds_exactly_are_whole():
    assert grid((0, -40, -3, 70.4, 40, 1), (0.05, 0.05, 0.1)) == (1408, 1600, 40)
    assert grid((-74.88, -74.88, -2, 74.88, 74.88, 4), (0.32, 0.32, 0.1875)) == (468, 468, 32)


def test_a_broken_grid_is_rounded_and_ranges_and_voxels_that_are_whole_are_named():
    assert grid((0, -20, -20, 50, 20, 15), (0.3, 0.2, 0.2)) == (167, 200, 175)
    assert misfit(0, 0, 50, 0.3) == (
        "x: 50 m / 0.3 m = 166.667 voxels, not a whole number: the grid gets 167; expected a range "
        "that ends at 49.8 (166 voxels) or 50.1 (167), or a voxel of 0.301205 or 0.299401 m"
    )


@pytest.mark.parametrize(("high", "count"), [(10.4, 10), (10.6, 11), (10.5, 10), (11.5, 12)])
def test_a_grid_is_rounded_as_numpy_rounds(high, count):
    assert grid((0, 0, 0, high, 1, 1), (1, 1, 1))[0] == count == int(np.round(high))


def test_the_suggestions_of_a_broken_grid_work():
    assert grid((0, 0, 0, 49.8, 1, 1), (0.3, 1, 1)) == (166, 1, 1)
    assert grid((0, 0, 0, 50, 1, 1), (50 / 167, 1, 1)) == (167, 1, 1)


@pytest.mark.parametrize("high", [1.0005, 0.9995])
def test_half_a_thousandth_of_a_voxel_is_rounding(high):
    assert grid((0, 0, 0, high, 1, 1), (1, 1, 1)) == (1, 1, 1)


@pytest.mark.parametrize("high", [1.002, 0.998 + 1])
def test_two_thousandths_of_a_voxel_are_not(high):
    assert whole_voxels(0, high, 1) is None
    assert grid((0, 0, 0, high, 1, 1), (1, 1, 1))[0] == round(high)


@pytest.mark.parametrize("voxel", [2.0, 1e-12, 5e-324])
def test_absurd_counts(voxel):
    with pytest.raises(ValueError, match=r"z: .* expected at least 1 and fewer than 2"):
        grid((0, 0, 0, 1, 1, 1), (1, 1, voxel))
