from pathlib import Path

import numpy as np

from tests.scenes.clouds import POINTS, read, write, written


def test_columns_are_taken_by_name(tmp_path: Path) -> None:
    text = "intensity,ring,z,y,x\n" + written().replace(" ", ",").replace("\n", ",9\n")
    path = write(tmp_path / "a.csv", text.encode())
    assert read(path)[0].tolist() == [9, 0.375, 0.25, 0]

    np.save(tmp_path / "a.npy", POINTS)
    used = ("x", "y", "z", "time")
    points = read(tmp_path / "a.npy", features=used, stored=("x", "y", "z", "rcs", "time"))
    np.testing.assert_array_equal(points, POINTS[:, [0, 1, 2, 4]])
