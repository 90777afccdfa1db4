import numpy as np

from bevdiag.source.standins.rois import in_box_frames, occupied_cells

BOXES = np.array([[10, 0, 0, 4, 2, 2, 0], [0, 0, 0, 4, 2, 2, np.pi / 2]], dtype=np.float32)


def test_points_are_seen_from_each_box() -> None:
    seen = in_box_frames(BOXES, np.array([[10, 1, 0]], dtype=np.float32))
    np.testing.assert_allclose(seen[0, 0], (0, 1, 0), atol=1e-6)
    np.testing.assert_allclose(seen[1, 0], (1, -10, 0), atol=1e-5)


def test_each_cell_counts_once_whatever_it_holds() -> None:
    in_one_cell = [[8.1, -0.9, -0.9], [8.2, -0.8, -0.8]]
    elsewhere = [[11.9, 0.9, 0.9], [0.9, 1.9, 0.9]]
    outside = [[10, 0, 1.1], [5, 5, 5]]
    points = np.array(in_one_cell + elsewhere + outside, dtype=np.float32)
    assert occupied_cells(BOXES, points, (4, 2, 2)) == 3


def test_no_point_inside_occupies_no_cell() -> None:
    assert occupied_cells(BOXES, np.full((3, 3), 50, dtype=np.float32), (4, 4, 4)) == 0
