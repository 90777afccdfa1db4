from pathlib import Path

import numpy as np
import pytest

from tests.scenes.clouds import PCD_HEADER, PLY_HEADER, POINTS, noted, read, refused, write, written


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_pcd_is_read(tmp_path: Path, encoding: str) -> None:
    body = written().encode() if encoding == "ascii" else POINTS[:, :4].tobytes()
    path = write(tmp_path / "a.pcd", PCD_HEADER.format(encoding).encode() + body)

    np.testing.assert_array_equal(read(path, 4), POINTS[:, :4])


def test_pcd_fields_may_stand_in_any_order_with_padding(tmp_path: Path) -> None:
    header = (
        "FIELDS ring z _ y x\nSIZE 2 8 1 4 4\nTYPE U F U F F\nCOUNT 1 1 3 1 1\n"
        "POINTS 2\nDATA binary\n"
    )
    row = np.dtype([("r", "<u2"), ("z", "<f8"), ("p", "u1", 3), ("y", "<f4"), ("x", "<f4")])
    rows = np.array([(7, 3, (1, 1, 1), 2, 1), (8, 6, (1, 1, 1), 5, 4)], row)
    path = write(tmp_path / "a.pcd", header.encode() + rows.tobytes())

    points = noted(path, "no column is named intensity, 'ring' is read in its place")
    assert points.tolist() == [[1, 2, 3, 7], [4, 5, 6, 8]]


# A literal run of 4 bytes, and one repeated from 4 bytes before: 01 02 03 04 01 02 03 04 ...
_LZF = bytes([3]) + np.float32(1.5).tobytes() + bytes([0xE0, 80 - 4 - 9, 3])


def test_compressed_pcd_is_read_column_by_column(tmp_path: Path) -> None:
    head = PCD_HEADER.format("binary_compressed").encode()
    sizes = np.array([len(_LZF), 80], "<u4").tobytes()
    same = write(tmp_path / "same.pcd", head + sizes + _LZF)
    np.testing.assert_array_equal(read(same), np.full((5, 4), 1.5))

    columns = POINTS[:, :4].T.tobytes()
    runs = b"".join(bytes([19]) + columns[i : i + 20] for i in range(0, 80, 20))
    sizes = np.array([len(runs), 80], "<u4").tobytes()
    plain = write(tmp_path / "plain.pcd", head + sizes + runs)
    np.testing.assert_array_equal(read(plain), POINTS[:, :4])
    refused(write(tmp_path / "cut.pcd", head + sizes + runs[:-1]), "cut short")


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_is_read(tmp_path: Path, encoding: str) -> None:
    order = ">f4" if encoding == "binary_big_endian" else "<f4"
    body = written().encode() if encoding == "ascii" else POINTS[:, :4].astype(order).tobytes()
    path = write(tmp_path / "a.ply", PLY_HEADER.format(encoding).encode() + body)

    np.testing.assert_array_equal(read(path, 4), POINTS[:, :4])
