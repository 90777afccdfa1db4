import pytest

from bevdiag.scenes.datasets import DATA_SETS, even, matching

FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
AROUND = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
XYZI = ("x", "y", "z", "intensity")


@pytest.mark.parametrize(
    ("dataset", "features", "bounds", "known"),
    [
        ("NuScenesDataset", XYZI, AROUND, ("nuScenes", "name")),
        ("WaymoDataset", XYZI, FORWARD, ("Waymo", "name")),
        ("KittiDataset", (*XYZI[:3], "rcs", "v_r"), FORWARD, ("View-of-Delft radar", "features")),
        ("MyDataset", XYZI, FORWARD, ("KITTI", "range")),
        ("MyDataset", XYZI, AROUND, ("Waymo", "range")),
        ("", XYZI, AROUND, ("Waymo", "range")),
        ("Mine", XYZI, (-72.0, -72.0, -5.0, 72.0, 72.0, 3.0), ("ONCE", "range")),
    ],
)
def test_names_features_and_ranges_choose_the_data_set(dataset, features, bounds, known) -> None:
    found, by = matching(dataset, features, bounds)
    assert (found.name, by) == known


def test_beams_are_angles_or_so_many_between_two() -> None:
    (velodyne,) = DATA_SETS["KITTI"].lidars
    assert velodyne.elevations == even(-24.9, 2.0, 64)
    (pandar,) = DATA_SETS["PandaSet"].lidars
    assert len(pandar.elevations) == 64
    assert pandar.elevations == tuple(sorted(pandar.elevations))
