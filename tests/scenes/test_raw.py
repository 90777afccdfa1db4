import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import read_samples
from tests.scenes.clouds import (
    FORWARD,
    POINTS,
    XYZI,
    XYZIT,
    kitti,
    layout,
    noted,
    read,
    refused,
    synthetic,
    write,
)

SONAR = (0.0, -20.0, -20.0, 50.0, 20.0, 15.0)


def test_bin_has_four_columns_unless_the_config_uses_more(tmp_path: Path) -> None:
    kitti = write(tmp_path / "k.bin", POINTS[:, :4].tobytes())
    wide = write(tmp_path / "w.bin", POINTS.tobytes())
    nuscenes = write(tmp_path / "n.pcd.bin", POINTS.tobytes())

    np.testing.assert_array_equal(read(kitti, 4), POINTS[:, :4])
    np.testing.assert_array_equal(read(kitti, 3), POINTS[:, :3])
    np.testing.assert_array_equal(read(wide, 5), POINTS)
    np.testing.assert_array_equal(read(nuscenes, 4), POINTS[:, :4])


def test_a_bin_of_another_width_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.bin", POINTS[:3].tobytes())

    refused(path, r"60 bytes are no whole .* 4 float32 .*--point-columns N \(3, 5 would fit\)")


def _sonar() -> np.ndarray:
    cloud = synthetic(SONAR, "sonar")
    classes = np.arange(4000, dtype=np.float32)[:, None] % 3
    return np.concatenate((cloud[:4000], classes), axis=1)


def _radar() -> np.ndarray:
    values = np.random.default_rng(0).normal((-10, 0, 0), (10, 3, 1), (300, 3))
    return np.concatenate((kitti(300)[:, :3], values, np.zeros((300, 1))), 1).astype(np.float32)


def test_bin_has_the_width_of_the_config_or_the_option(tmp_path: Path) -> None:
    radar = write(tmp_path / "r.bin", _radar().tobytes())
    sonar = write(tmp_path / "s.bin", _sonar().tobytes())
    ring = write(tmp_path / "n.pcd.bin", POINTS.tobytes())
    seven = ("x", "y", "z", "rcs", "v_r", "intensity", "time")

    np.testing.assert_array_equal(read(radar, stored=seven), _radar()[:, [0, 1, 2, 5]])
    of_sonar = {"stored": XYZI, "columns": 5, "point_cloud_range": SONAR}
    np.testing.assert_array_equal(read(sonar, **of_sonar), _sonar()[:, :4])
    np.testing.assert_array_equal(read(ring, 5, stored=XYZIT), POINTS)


@pytest.mark.parametrize(
    ("cloud", "stored", "words"),
    [
        (kitti, XYZIT, "as 5 .* as 4 float32 columns .*--point-columns 4"),
        (_radar, XYZIT, "as 5 .* as 7 float32 columns .*--point-columns 7"),
        (_sonar, XYZI, "as 4 .* as 5 float32 columns .*--point-columns 5"),
    ],
)
def test_a_bin_that_is_clearly_of_another_width_is_refused(
    tmp_path: Path, cloud: Any, stored: tuple[str, ...], words: str
) -> None:
    bounds = SONAR if cloud is _sonar else FORWARD
    path = write(tmp_path / "a.bin", cloud().tobytes())
    refused(path, words, stored=stored, point_cloud_range=bounds)
    # Who insists is believed, and warned.
    pinned = {"columns": len(stored), "point_cloud_range": bounds}
    assert len(noted(path, words, **pinned)) == cloud().size / len(stored)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_bin_of_another_type_is_refused_and_read_with_its_option(
    tmp_path: Path, dtype: str
) -> None:
    cloud = kitti().astype(dtype)
    path = write(tmp_path / "a.bin", cloud.tobytes())
    refused(path, f"as 4 float32 .*--point-columns 4 --point-dtype {dtype}", stored=XYZI)
    points = read(path, stored=XYZI, dtype=dtype)
    np.testing.assert_array_equal(points, cloud.astype(np.float32))


def test_an_option_for_bin_files_is_refused_for_others(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", POINTS)
    with pytest.raises(InputError, match=r"--point-columns: only a \.bin"):
        read_samples([tmp_path / "a.npy"], layout(columns=5), 1)


def test_bytes_of_another_order_are_refused_without_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.bin", kitti().astype(">f4").tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(path, "too small for any sensor")
