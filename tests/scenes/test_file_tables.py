import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.scenes.clouds import POINTS, read, refused, write, written


@pytest.mark.parametrize(
    ("name", "head", "separator"),
    [
        ("a.txt", "", " "),
        ("b.xyz", "", "\t"),
        ("c.csv", "", ","),
        ("d.csv", "x,y,z,intensity\n", ","),
        ("b.csv", "\ufeffx,y,z,intensity\n", ","),
        ("e.csv", '"X";"Y";"Z";"I"\n', ";"),
        ("f.txt", "//X,Y,Z,Scalar_Intensity\n", ","),
        ("g.txt", "# taken by hand\n", " "),
    ],
)
def test_text_is_read(tmp_path: Path, name: str, head: str, separator: str) -> None:
    path = write(tmp_path / name, (head + written().replace(" ", separator)).encode())
    np.testing.assert_array_equal(read(path), POINTS[:, :4])


def test_a_long_text_is_read_line_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "long.txt", b"9 8 0 1\n" * 50_000)
    tracemalloc.start()
    assert len(read(path)) == 50_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * path.stat().st_size


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_lines_end_as_on_any_system(tmp_path: Path, end: str) -> None:
    path = write(tmp_path / "a.txt", written().replace("\n", end).encode())
    np.testing.assert_array_equal(read(path), POINTS[:, :4])


def test_arrow_files_need_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for suffix in (".feather", ".parquet"):
        refused(write(tmp_path / f"a{suffix}", b"x"), "pip install pyarrow")


@pytest.mark.parametrize("suffix", [".feather", ".parquet"])
def test_arrow_files_are_read(tmp_path: Path, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    names = ("x", "y", "z", "intensity", "laser")
    table = pyarrow.table({name: POINTS[:, i] for i, name in enumerate(names)})
    path = tmp_path / f"a{suffix}"
    (feather.write_feather if suffix == ".feather" else parquet.write_table)(table, str(path))
    np.testing.assert_array_equal(read(path), POINTS[:, :4])
    refused(write(tmp_path / f"junk{suffix}", b"x" * 100), f"is no {suffix} file")
