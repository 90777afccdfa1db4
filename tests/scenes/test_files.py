from pathlib import Path

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import read_samples
from tests.scenes.clouds import (
    PCD_HEADER,
    PLY_HEADER,
    POINTS,
    kitti,
    layout,
    refused,
    write,
    written,
)


def test_files_that_are_not_what_their_names_say_are_refused(tmp_path: Path) -> None:
    for suffix in (".npy", ".pcd", ".ply"):
        refused(write(tmp_path / f"junk{suffix}", b"not a point file"), "is no")
        refused(write(tmp_path / f"empty{suffix}", b""), "is no")
    refused(write(tmp_path / "empty.bin", b""), "no points")
    refused(write(tmp_path / "a.laz", b""), "unknown point file type '.laz'")
    refused(tmp_path / "missing.npy", "No such file")
    refused(tmp_path, "unknown point file type")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("c.pcd", PCD_HEADER.format("binary_compressed").encode(), "damaged or cut short"),
        ("d.pcd", PCD_HEADER.format("zip").encode(), "'zip' is unknown"),
        ("s.pcd", PCD_HEADER.format("binary").encode() + bytes(60), "cut short"),
        ("t.pcd", PCD_HEADER.format("ascii").encode() + b"1 2 3", "cut short"),
        ("w.pcd", PCD_HEADER.format("ascii").encode() + b"1 2 x 4\n" * 5, "not a number"),
        (
            "0.pcd",
            PCD_HEADER.replace("POINTS 5", "POINTS 0").format("binary").encode(),
            "no points",
        ),
        ("0.txt", b"# x y z i\n", "no points"),
        ("n.pcd", PCD_HEADER.replace("POINTS 5", "POINTS four").encode(), "malformed"),
        ("m.pcd", PCD_HEADER.replace("POINTS 5", "POINTS -4").encode(), "malformed"),
        ("f.pcd", PCD_HEADER.replace("F F F F", "F F F C").encode(), "TYPE C"),
        ("l.pcd", PCD_HEADER.replace("SIZE 4 4 4 4", "SIZE 4 4").encode(), "differ in length"),
        (
            "x.pcd",
            PCD_HEADER.replace("FIELDS x", "FIELDS u").encode() + written().encode(),
            "no column x",
        ),
        ("b.ply", PLY_HEADER.format("binary_big_endian").encode(), "cut short"),
        ("z.ply", PLY_HEADER.format("binary_middle").encode(), "'binary_middle' is not read"),
        ("r.pcd", PCD_HEADER.format("ascii").encode() + b"1 2 3 4 5\n" * 5, "row 1 .* 5 values"),
        ("r.ply", PLY_HEADER.format("ascii").encode() + b"1 2 3 4 5\n" * 5, "row 1 .* 5 values"),
        ("r.txt", b"1 2 3 4\n1 2 3\n", "row 2 of the points has 3 values instead of 4"),
        ("w.csv", b"x,y,z,i\n1,2,far,4\n", "not a number"),
        ("h.csv", b"x,y,z,i\n1,2,3\n", "names 4 columns"),
        ("n.txt", b"1 2 3\n" * 9, "3 columns a point, but the config uses 4"),
        ("n.csv", b"x,y,z\n" + b"1,2,3\n" * 9, "of which intensity is missing"),
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
    refused(write(tmp_path / name, data), words)


def test_a_folder_stands_for_files_out_of_it(tmp_path: Path) -> None:
    for i in range(10):
        np.save(tmp_path / f"{i}.npy", POINTS + i)
    (tmp_path / "calib.txt").write_text("P0: 1")

    samples, source = read_samples([tmp_path], layout(), 3)

    assert [cloud[0, 0] for cloud in samples] == [0, 3, 6]
    assert source == "0.npy, 3.npy, 6.npy"
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none: holds no point files"):
        read_samples([tmp_path / "none"], layout(), 1)


def test_files_are_shuffled_where_the_config_shuffles(tmp_path: Path) -> None:
    cloud = kitti(500)
    np.save(tmp_path / "a.npy", cloud)

    one, two = read_samples([tmp_path / "a.npy"], layout(shuffled=True), 2)[0]
    (again, _), _ = read_samples([tmp_path / "a.npy"], layout(shuffled=True), 2)

    np.testing.assert_array_equal(one, again)
    for shuffled in (one, two):
        assert not np.array_equal(shuffled, cloud)
        np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(cloud, axis=0))
    assert not np.array_equal(one, two)


def test_notes_are_part_of_the_source(tmp_path: Path) -> None:
    cloud = POINTS.copy()
    cloud[0] = np.nan
    np.save(tmp_path / "a.npy", cloud)
    _, source = read_samples([tmp_path / "a.npy"], layout(), 1)
    assert source == "a.npy (1 of 5 points hold NaN or infinite values and are dropped)"


def test_samples_take_the_files_in_turn(tmp_path: Path) -> None:
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for i, path in enumerate(paths):
        np.save(path, POINTS + i)

    samples, source = read_samples(paths, layout(), 3)

    assert [cloud[0, 0] for cloud in samples] == [0, 1, 0]
    assert source == "a.npy, b.npy"
