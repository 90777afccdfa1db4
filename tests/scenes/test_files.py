import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import Layout, Scenario, Wanted, read_points, read_samples

XYZI = ("x", "y", "z", "intensity")
XYZIT = (*XYZI, "timestamp")
FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
AROUND = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
SONAR = (0.0, -20.0, -20.0, 50.0, 20.0, 15.0)
POINTS = np.arange(25, dtype=np.float32).reshape(5, 5) / 8
PCD_HEADER = (
    "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    "WIDTH 5\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 5\nDATA {}\n"
)
PLY_HEADER = (
    "ply\nformat {} 1.0\ncomment made by hand\nelement vertex 5\nproperty float x\n"
    "property float y\nproperty float z\nproperty float intensity\nelement face 0\n"
    "property list uchar int vertex_indices\nend_header\n"
)


def _text() -> str:
    return "\n".join(" ".join(map(str, row)) for row in POINTS[:, :4]) + "\n"


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _layout(num_features: int = 4, **known: Any) -> Layout:
    return Layout(**{"features": XYZIT[:num_features], "point_cloud_range": FORWARD, **known})


def _read(path: Path, num_features: int = 4, **known: Any) -> np.ndarray:
    """What is read where nothing is in doubt."""
    points, notes = read_points(path, _layout(num_features, **known))
    assert notes == []
    return points


def _noted(path: Path, words: str, num_features: int = 4, **known: Any) -> np.ndarray:
    points, notes = read_points(path, _layout(num_features, **known))
    assert re.search(words, "; ".join(notes)), notes
    return points


def _refused(path: Path, words: str, num_features: int = 4, **known: Any) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_points(path, _layout(num_features, **known))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npy_is_cut_to_the_features_asked_for(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "a.npy", POINTS.astype(dtype))

    points = _read(tmp_path / "a.npy", 4)

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

    np.testing.assert_array_equal(_read(kitti, 4), POINTS[:, :4])
    np.testing.assert_array_equal(_read(kitti, 3), POINTS[:, :3])
    np.testing.assert_array_equal(_read(wide, 5), POINTS)
    np.testing.assert_array_equal(_read(nuscenes, 4), POINTS[:, :4])


def test_a_bin_of_another_width_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.bin", POINTS[:3].tobytes())

    _refused(path, r"60 bytes are no whole .* 4 float32 .*--point-columns N \(3, 5 would fit\)")


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_pcd_is_read(tmp_path: Path, encoding: str) -> None:
    body = _text().encode() if encoding == "ascii" else POINTS[:, :4].tobytes()
    path = _write(tmp_path / "a.pcd", PCD_HEADER.format(encoding).encode() + body)

    np.testing.assert_array_equal(_read(path, 4), POINTS[:, :4])


def test_pcd_fields_may_stand_in_any_order_with_padding(tmp_path: Path) -> None:
    header = (
        "FIELDS ring z _ y x\nSIZE 2 8 1 4 4\nTYPE U F U F F\nCOUNT 1 1 3 1 1\n"
        "POINTS 2\nDATA binary\n"
    )
    row = np.dtype([("r", "<u2"), ("z", "<f8"), ("p", "u1", 3), ("y", "<f4"), ("x", "<f4")])
    rows = np.array([(7, 3, (1, 1, 1), 2, 1), (8, 6, (1, 1, 1), 5, 4)], row)
    path = _write(tmp_path / "a.pcd", header.encode() + rows.tobytes())

    points = _noted(path, "no column is named intensity, 'ring' is read in its place")
    assert points.tolist() == [[1, 2, 3, 7], [4, 5, 6, 8]]


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_is_read(tmp_path: Path, encoding: str) -> None:
    order = ">f4" if encoding == "binary_big_endian" else "<f4"
    body = _text().encode() if encoding == "ascii" else POINTS[:, :4].astype(order).tobytes()
    path = _write(tmp_path / "a.ply", PLY_HEADER.format(encoding).encode() + body)

    np.testing.assert_array_equal(_read(path, 4), POINTS[:, :4])


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("c.pcd", PCD_HEADER.format("binary_compressed").encode(), "damaged or cut short"),
        ("d.pcd", PCD_HEADER.format("zip").encode(), "'zip' is unknown"),
        ("s.pcd", PCD_HEADER.format("binary").encode() + bytes(60), "cut short"),
        ("t.pcd", PCD_HEADER.format("ascii").encode() + b"1 2 3", "cut short"),
        ("w.pcd", PCD_HEADER.format("ascii").encode() + b"1 2 x 4\n" * 5, "not a number"),
        ("n.pcd", PCD_HEADER.replace("POINTS 5", "POINTS four").encode(), "malformed"),
        ("m.pcd", PCD_HEADER.replace("POINTS 5", "POINTS -4").encode(), "malformed"),
        ("f.pcd", PCD_HEADER.replace("F F F F", "F F F C").encode(), "TYPE C"),
        ("l.pcd", PCD_HEADER.replace("SIZE 4 4 4 4", "SIZE 4 4").encode(), "differ in length"),
        (
            "x.pcd",
            PCD_HEADER.replace("FIELDS x", "FIELDS u").encode() + _text().encode(),
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
    _refused(_write(tmp_path / name, data), words)


# A literal run of 4 bytes, and one repeated from 4 bytes before: 01 02 03 04 01 02 03 04 ...
_LZF = bytes([3]) + np.float32(1.5).tobytes() + bytes([0xE0, 80 - 4 - 9, 3])


def test_compressed_pcd_is_read_column_by_column(tmp_path: Path) -> None:
    head = PCD_HEADER.format("binary_compressed").encode()
    sizes = np.array([len(_LZF), 80], "<u4").tobytes()
    same = _write(tmp_path / "same.pcd", head + sizes + _LZF)
    np.testing.assert_array_equal(_read(same), np.full((5, 4), 1.5))

    columns = POINTS[:, :4].T.tobytes()
    runs = b"".join(bytes([19]) + columns[i : i + 20] for i in range(0, 80, 20))
    sizes = np.array([len(runs), 80], "<u4").tobytes()
    plain = _write(tmp_path / "plain.pcd", head + sizes + runs)
    np.testing.assert_array_equal(_read(plain), POINTS[:, :4])
    _refused(_write(tmp_path / "cut.pcd", head + sizes + runs[:-1]), "cut short")


@pytest.mark.parametrize(
    ("name", "head", "separator"),
    [
        ("a.txt", "", " "),
        ("b.xyz", "", "\t"),
        ("c.csv", "", ","),
        ("d.csv", "x,y,z,intensity\n", ","),
        ("e.csv", '"X";"Y";"Z";"I"\n', ";"),
        ("f.txt", "//X,Y,Z,Scalar_Intensity\n", ","),
        ("g.txt", "# taken by hand\n", " "),
    ],
)
def test_text_is_read(tmp_path: Path, name: str, head: str, separator: str) -> None:
    path = _write(tmp_path / name, (head + _text().replace(" ", separator)).encode())
    np.testing.assert_array_equal(_read(path), POINTS[:, :4])


def test_columns_are_taken_by_name(tmp_path: Path) -> None:
    text = "intensity,ring,z,y,x\n" + _text().replace(" ", ",").replace("\n", ",9\n")
    path = _write(tmp_path / "a.csv", text.encode())
    assert _read(path)[0].tolist() == [9, 0.375, 0.25, 0]

    np.save(tmp_path / "a.npy", POINTS)
    used = ("x", "y", "z", "time")
    points = _read(tmp_path / "a.npy", features=used, stored=("x", "y", "z", "rcs", "time"))
    np.testing.assert_array_equal(points, POINTS[:, [0, 1, 2, 4]])


def test_npz_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=POINTS, stamp=np.arange(3))
    np.savez(tmp_path / "b.npz", **{n: POINTS[:, i] for i, n in enumerate("xyzi")})
    np.savez(tmp_path / "two.npz", a=POINTS, b=POINTS)

    np.testing.assert_array_equal(_read(tmp_path / "a.npz"), POINTS[:, :4])
    np.testing.assert_array_equal(_read(tmp_path / "b.npz"), POINTS[:, :4])
    _refused(tmp_path / "two.npz", "expected one array .* found a, b")


def test_arrow_files_need_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for suffix in (".feather", ".parquet"):
        _refused(_write(tmp_path / f"a{suffix}", b"x"), "pip install pyarrow")


@pytest.mark.parametrize("suffix", [".feather", ".parquet"])
def test_arrow_files_are_read(tmp_path: Path, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    names = ("x", "y", "z", "intensity", "laser")
    table = pyarrow.table({name: POINTS[:, i] for i, name in enumerate(names)})
    path = tmp_path / f"a{suffix}"
    (feather.write_feather if suffix == ".feather" else parquet.write_table)(table, str(path))
    np.testing.assert_array_equal(_read(path), POINTS[:, :4])
    _refused(_write(tmp_path / f"junk{suffix}", b"x" * 100), f"is no {suffix} file")


def test_rows_with_gaps_are_dropped_with_a_note(tmp_path: Path) -> None:
    cloud = POINTS.copy()
    cloud[2, 1], cloud[3, 3] = np.nan, np.inf
    np.save(tmp_path / "a.npy", cloud)
    points = _noted(tmp_path / "a.npy", "^2 of 5 points hold NaN or infinite values")
    np.testing.assert_array_equal(points, POINTS[[0, 1, 4], :4])


def test_odd_clouds_are_doubted(tmp_path: Path) -> None:
    cloud = _kitti()
    for name, changed, words in (
        ("mm", cloud * np.float32([100, 100, 100, 1]), r"^only \d.\d% of the points lie inside"),
        ("same", cloud[:, [0, 0, 2, 3]], "columns x and y are equal"),
        ("few", POINTS[:2], "2 rows of 5 values"),
    ):
        np.save(tmp_path / f"{name}.npy", changed)
        _noted(tmp_path / f"{name}.npy", words)
    cloud[7, 0] = 5e4
    np.save(tmp_path / "far.npy", cloud)
    _noted(tmp_path / "far.npy", "coordinates lie beyond 10,000 m")


def synthetic(bounds, dataset) -> np.ndarray:
    layout = Layout(features=XYZI, point_cloud_range=bounds)
    wanted = Wanted(layout=layout, batch_size=1, dataset=dataset)
    return wanted.samples(Scenario.EXPECTED)[0][0]


def _kitti(num_points: int = 12_000) -> np.ndarray:
    cloud = synthetic(FORWARD, "KittiDataset")
    return cloud[:num_points].copy()


def _sonar() -> np.ndarray:
    cloud = synthetic(SONAR, "sonar")
    classes = np.arange(4000, dtype=np.float32)[:, None] % 3
    return np.concatenate((cloud[:4000], classes), axis=1)


def _radar() -> np.ndarray:
    values = np.random.default_rng(0).normal((-10, 0, 0), (10, 3, 1), (300, 3))
    return np.concatenate((_kitti(300)[:, :3], values, np.zeros((300, 1))), 1).astype(np.float32)


def test_bin_has_the_width_of_the_config_or_the_option(tmp_path: Path) -> None:
    radar = _write(tmp_path / "r.bin", _radar().tobytes())
    sonar = _write(tmp_path / "s.bin", _sonar().tobytes())
    ring = _write(tmp_path / "n.pcd.bin", POINTS.tobytes())
    seven = ("x", "y", "z", "rcs", "v_r", "intensity", "time")

    np.testing.assert_array_equal(_read(radar, stored=seven), _radar()[:, [0, 1, 2, 5]])
    of_sonar = {"stored": XYZI, "columns": 5, "point_cloud_range": SONAR}
    np.testing.assert_array_equal(_read(sonar, **of_sonar), _sonar()[:, :4])
    np.testing.assert_array_equal(_read(ring, 5, stored=XYZIT), POINTS)


@pytest.mark.parametrize(
    ("cloud", "stored", "words"),
    [
        (_kitti, XYZIT, "as 5 .* as 4 float32 columns .*--point-columns 4"),
        (_radar, XYZIT, "as 5 .* as 7 float32 columns .*--point-columns 7"),
        (_sonar, XYZI, "as 4 .* as 5 float32 columns .*--point-columns 5"),
    ],
)
def test_a_bin_that_is_clearly_of_another_width_is_refused(
    tmp_path: Path, cloud: Any, stored: tuple[str, ...], words: str
) -> None:
    bounds = SONAR if cloud is _sonar else FORWARD
    path = _write(tmp_path / "a.bin", cloud().tobytes())
    _refused(path, words, stored=stored, point_cloud_range=bounds)
    # Who insists is believed, and warned.
    pinned = {"columns": len(stored), "point_cloud_range": bounds}
    assert len(_noted(path, words, **pinned)) == cloud().size / len(stored)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_bin_of_another_type_is_refused_and_read_with_its_option(
    tmp_path: Path, dtype: str
) -> None:
    cloud = _kitti().astype(dtype)
    path = _write(tmp_path / "a.bin", cloud.tobytes())
    _refused(path, f"as 4 float32 .*--point-columns 4 --point-dtype {dtype}", stored=XYZI)
    points = _read(path, stored=XYZI, dtype=dtype)
    np.testing.assert_array_equal(points, cloud.astype(np.float32))


def test_a_folder_stands_for_files_out_of_it(tmp_path: Path) -> None:
    for i in range(10):
        np.save(tmp_path / f"{i}.npy", POINTS + i)
    (tmp_path / "calib.txt").write_text("P0: 1")

    samples, source = read_samples([tmp_path], _layout(), 3)

    assert [cloud[0, 0] for cloud in samples] == [0, 3, 6]
    assert source == "0.npy, 3.npy, 6.npy"
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none: holds no point files"):
        read_samples([tmp_path / "none"], _layout(), 1)


def test_files_are_shuffled_where_the_config_shuffles(tmp_path: Path) -> None:
    cloud = _kitti(500)
    np.save(tmp_path / "a.npy", cloud)

    one, two = read_samples([tmp_path / "a.npy"], _layout(shuffled=True), 2)[0]
    (again, _), _ = read_samples([tmp_path / "a.npy"], _layout(shuffled=True), 2)

    np.testing.assert_array_equal(one, again)
    for shuffled in (one, two):
        assert not np.array_equal(shuffled, cloud)
        np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(cloud, axis=0))
    assert not np.array_equal(one, two)


def test_notes_are_part_of_the_source(tmp_path: Path) -> None:
    cloud = POINTS.copy()
    cloud[0] = np.nan
    np.save(tmp_path / "a.npy", cloud)
    _, source = read_samples([tmp_path / "a.npy"], _layout(), 1)
    assert source == "a.npy (1 of 5 points hold NaN or infinite values and are dropped)"


def test_an_option_for_bin_files_is_refused_for_others(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", POINTS)
    with pytest.raises(InputError, match=r"--point-columns: only a \.bin"):
        read_samples([tmp_path / "a.npy"], _layout(columns=5), 1)


def test_samples_take_the_files_in_turn(tmp_path: Path) -> None:
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for i, path in enumerate(paths):
        np.save(path, POINTS + i)

    samples, source = read_samples(paths, _layout(), 3)

    assert [cloud[0, 0] for cloud in samples] == [0, 1, 0]
    assert source == "a.npy, b.npy"
