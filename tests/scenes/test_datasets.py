import pytest

from bevdiag.scenes.datasets import KITTI, NUSCENES, ONCE, VIEW_OF_DELFT, WAYMO, matching

FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
AROUND = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
XYZI = ("x", "y", "z", "intensity")


@pytest.mark.parametrize(
    ("dataset", "features", "bounds", "known"),
    [
        ("NuScenesDataset", XYZI, AROUND, (NUSCENES, "name")),
        ("WaymoDataset", XYZI, FORWARD, (WAYMO, "name")),
        ("KittiDataset", (*XYZI[:3], "rcs", "v_r"), FORWARD, (VIEW_OF_DELFT, "features")),
        ("MyDataset", XYZI, FORWARD, (KITTI, "range")),
        ("MyDataset", XYZI, AROUND, (WAYMO, "range")),
        ("", XYZI, AROUND, (WAYMO, "range")),
        ("Mine", XYZI, (-72.0, -72.0, -5.0, 72.0, 72.0, 3.0), (ONCE, "range")),
    ],
)
def test_names_features_and_ranges_choose_the_data_set(dataset, features, bounds, known) -> None:
    assert matching(dataset, features, bounds) == known
