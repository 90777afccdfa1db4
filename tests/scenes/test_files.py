from pathlib import Path

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import read_points, read_samples

POINTS = np.arange(20, dtype=np.float32).reshape(4, 5) / 8
PCD_HEADER = (
    "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    "WIDTH 4\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 4\nDATA {}\n"
)
PLY_HEADER = (
    "ply\nformat {} 1.0\ncomment made by hand\nelement vertex 4\nproperty float x\n"
    "property float y\nproperty float z\nproperty float intensity\nelement face 0\n"
    "property list uchar int vertex_indices\nend_header\n"
)


def _text() -> str:
    return "\n".join(" ".join(map(str, row)) for row in POINTS[:, :4]) + "\n"


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _refused(path: Path, words: str, num_features: int = 4) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_points(path, num_features)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npy_is_cut_to_the_features_asked_for(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "a.npy", POINTS.astype(dtype))

    points = read_points(tmp_path / "a.npy", 4)

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
        (np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]], np.float32), "1 of 2 points.*row 1"),
        (np.array([[0, 0, 0, 1e300]]), "infinite"),
    ],
)
def test_unusable_npy_arrays_are_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)

    _refused(tmp_path / "a.npy", words)


def test_files_that_are_not_what_their_names_say_are_refused(tmp_path: Path) -> None:
    for suffix in (".npy", ".pcd", ".ply"):
        _refused(_write(tmp_path / f"junk{suffix}", b"not a point file"), "is no")
        _refused(_write(tmp_path / f"empty{suffix}", b""), "is no")
    _refused(_write(tmp_path / "empty.bin", b""), "no points")
    _refused(_write(tmp_path / "a.laz", b""), "unknown point file type '.laz'")
    _refused(tmp_path / "missing.npy", "No such file")
    _refused(tmp_path, "unknown point file type")


def test_bin_has_four_columns_unless_the_config_uses_more(tmp_path: Path) -> None:
    kitti = _write(tmp_path / "k.bin", POINTS[:, :4].tobytes())
    wide = _write(tmp_path / "w.bin", POINTS.tobytes())
    nuscenes = _write(tmp_path / "n.pcd.bin", POINTS.tobytes())

    np.testing.assert_array_equal(read_points(kitti, 4), POINTS[:, :4])
    np.testing.assert_array_equal(read_points(kitti, 3), POINTS[:, :3])
    np.testing.assert_array_equal(read_points(wide, 5), POINTS)
    np.testing.assert_array_equal(read_points(nuscenes, 4), POINTS[:, :4])


def test_a_bin_of_another_width_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.bin", POINTS[:3].tobytes())

    _refused(path, "60 bytes are no whole number of points of 4 float32")


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_pcd_is_read(tmp_path: Path, encoding: str) -> None:
    body = _text().encode() if encoding == "ascii" else POINTS[:, :4].tobytes()
    path = _write(tmp_path / "a.pcd", PCD_HEADER.format(encoding).encode() + body)

    np.testing.assert_array_equal(read_points(path, 4), POINTS[:, :4])


def test_pcd_fields_may_stand_in_any_order_with_padding(tmp_path: Path) -> None:
    header = (
        "FIELDS ring z _ y x\nSIZE 2 8 1 4 4\nTYPE U F U F F\nCOUNT 1 1 3 1 1\n"
        "POINTS 2\nDATA binary\n"
    )
    row = np.dtype([("r", "<u2"), ("z", "<f8"), ("p", "u1", 3), ("y", "<f4"), ("x", "<f4")])
    rows = np.array([(7, 3, (1, 1, 1), 2, 1), (8, 6, (1, 1, 1), 5, 4)], row)
    path = _write(tmp_path / "a.pcd", header.encode() + rows.tobytes())

    assert read_points(path, 4).tolist() == [[1, 2, 3, 7], [4, 5, 6, 8]]


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
def test_ply_is_read(tmp_path: Path, encoding: str) -> None:
    body = _text().encode() if encoding == "ascii" else POINTS[:, :4].tobytes()
    path = _write(tmp_path / "a.ply", PLY_HEADER.format(encoding).encode() + body)

    np.testing.assert_array_equal(read_points(path, 4), POINTS[:, :4])


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("c.pcd", PCD_HEADER.format("binary_compressed").encode(), "binary_compressed"),
        ("d.pcd", PCD_HEADER.format("zip").encode(), "'zip' is unknown"),
        ("s.pcd", PCD_HEADER.format("binary").encode() + bytes(60), "cut short"),
        ("t.pcd", PCD_HEADER.format("ascii").encode() + b"1 2 3", "cut short"),
        ("w.pcd", PCD_HEADER.format("ascii").encode() + b"1 2 x 4", "not a number"),
        ("n.pcd", PCD_HEADER.replace("POINTS 4", "POINTS four").encode(), "malformed"),
        ("m.pcd", PCD_HEADER.replace("POINTS 4", "POINTS -4").encode(), "malformed"),
        ("f.pcd", PCD_HEADER.replace("F F F F", "F F F C").encode(), "TYPE C"),
        ("l.pcd", PCD_HEADER.replace("SIZE 4 4 4 4", "SIZE 4 4").encode(), "differ in length"),
        ("x.pcd", PCD_HEADER.replace("FIELDS x", "FIELDS u").encode(), "no column x"),
        ("b.ply", PLY_HEADER.format("binary_big_endian").encode(), "binary_big_endian"),
        ("s.ply", PLY_HEADER.format("ascii").encode() + b"1 2", "cut short"),
        ("e.ply", b"ply\nformat ascii 1.0\nelement face 1\nend_header\n", "not vertex"),
        (
            "p.ply",
            b"ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int v\nend_header\n",
            "single numbers",
        ),
        ("v.ply", b"ply\nformat ascii 1.0\nelement vertex x\nend_header\n", "how many vertices"),
    ],
)
def test_unreadable_pcd_and_ply_files_are_refused(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    data = data.replace(b"DATA {}", b"DATA ascii")
    _refused(_write(tmp_path / name, data), words)


def test_samples_take_the_files_in_turn(tmp_path: Path) -> None:
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for i, path in enumerate(paths):
        np.save(path, POINTS + i)

    samples, source = read_samples(paths, 4, 3)

    assert [cloud[0, 0] for cloud in samples] == [0, 1, 0]
    assert source == "a.npy, b.npy"
