import pytest

from bevdiag.scenes.datasets import KITTI, NUSCENES, VIEW_OF_DELFT, WAYMO, matching

FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
AROUND = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
XYZI = ("x", "y", "z", "intensity")


@pytest.mark.parametrize(
    ("dataset", "features", "bounds", "known"),
    [
        ("NuScenesDataset", XYZI, AROUND, NUSCENES),
        ("WaymoDataset", XYZI, FORWARD, WAYMO),
        ("KittiDataset", (*XYZI[:3], "rcs", "v_r"), FORWARD, VIEW_OF_DELFT),
        ("MyDataset", XYZI, FORWARD, KITTI),
        ("MyDataset", XYZI, AROUND, WAYMO),
        ("", XYZI, AROUND, WAYMO),
    ],
)
def test_names_features_and_ranges_choose_the_data_set(dataset, features, bounds, known) -> None:
    assert matching(dataset, features, bounds) is known
