from pathlib import Path

import numpy as np
import pytest

from tests.scenes.clouds import POINTS, read, refused


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npy_is_cut_to_the_features_asked_for(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "a.npy", POINTS.astype(dtype))

    points = read(tmp_path / "a.npy", 4)

    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, POINTS[:, :4])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(5, np.float32), r"shape \[5\]"),
        (np.zeros((2, 4), complex), "expected numbers"),
        (np.array([[1, "a"]], dtype=object), "no plain .npy array"),
        (np.zeros((0, 4), np.float32), "no points"),
        (np.zeros((3, 3), np.float32), "3 columns"),
        (np.full((2, 4), np.nan), "all of its 2 points hold NaN"),
        (np.array([[0, 0, 0, 1e300]]), "infinite"),
        (np.zeros((4, 100), np.float32), "transposed"),
        (np.full((9, 4), 2e5), "beyond 10,000 m.*--point-columns and --point-dtype"),
    ],
)
def test_unusable_npy_arrays_are_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)

    refused(tmp_path / "a.npy", words)


def test_npz_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=POINTS, stamp=np.arange(3))
    np.savez(tmp_path / "b.npz", **{n: POINTS[:, i] for i, n in enumerate("xyzi")})
    np.savez(tmp_path / "two.npz", a=POINTS, b=POINTS)

    np.testing.assert_array_equal(read(tmp_path / "a.npz"), POINTS[:, :4])
    np.testing.assert_array_equal(read(tmp_path / "b.npz"), POINTS[:, :4])
    refused(tmp_path / "two.npz", "expected one array .* found a, b")
