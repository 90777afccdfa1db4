from pathlib import Path

import numpy as np

from tests.scenes.clouds import (
    POINTS,
    kitti,
    noted,
    read,
    write,
    written,
)


def test_columns_are_taken_by_name(tmp_path: Path) -> None:
    text = "intensity,ring,z,y,x\n" + written().replace(" ", ",").replace("\n", ",9\n")
    path = write(tmp_path / "a.csv", text.encode())
    assert read(path)[0].tolist() == [9, 0.375, 0.25, 0]

    np.save(tmp_path / "a.npy", POINTS)
    used = ("x", "y", "z", "time")
    points = read(tmp_path / "a.npy", features=used, stored=("x", "y", "z", "rcs", "time"))
    np.testing.assert_array_equal(points, POINTS[:, [0, 1, 2, 4]])


def test_rows_with_gaps_are_dropped_with_a_note(tmp_path: Path) -> None:
    cloud = POINTS.copy()
    cloud[2, 1], cloud[3, 3] = np.nan, np.inf
    np.save(tmp_path / "a.npy", cloud)
    points = noted(tmp_path / "a.npy", "^2 of 5 points hold NaN or infinite values")
    np.testing.assert_array_equal(points, POINTS[[0, 1, 4], :4])


def test_odd_clouds_are_doubted(tmp_path: Path) -> None:
    cloud = kitti()
    for name, changed, words in (
        ("mm", cloud * np.float32([100, 100, 100, 1]), r"^only \d.\d% of the points lie inside"),
        ("same", cloud[:, [0, 0, 2, 3]], "columns x and y are equal"),
        ("few", POINTS[:2], "2 rows of 5 values"),
    ):
        np.save(tmp_path / f"{name}.npy", changed)
        noted(tmp_path / f"{name}.npy", words)
    cloud[7, 0] = 5e4
    np.save(tmp_path / "far.npy", cloud)
    noted(tmp_path / "far.npy", "coordinates lie beyond 10,000 m")
