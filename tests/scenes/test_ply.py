from pathlib import Path

import numpy as np
import pytest

from tests.scenes.clouds import PLY_HEADER, POINTS, read, write, written


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_is_read(tmp_path: Path, encoding: str) -> None:
    order = ">f4" if encoding == "binary_big_endian" else "<f4"
    body = written().encode() if encoding == "ascii" else POINTS[:, :4].astype(order).tobytes()
    path = write(tmp_path / "a.ply", PLY_HEADER.format(encoding).encode() + body)

    np.testing.assert_array_equal(read(path, 4), POINTS[:, :4])
