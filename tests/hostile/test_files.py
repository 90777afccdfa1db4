"""Hostile files of every other kind: points, baselines, lists of packages, logs, policies, rows."""

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from bevdiag.errors import BevdiagError
from bevdiag.scenes import PointLayout, read_points, read_samples
from bevdiag.scenes.point_layout import MAX_VALUES

from .limits import Ending, ended

LAYOUT = PointLayout(features=("x", "y", "z", "i"), point_cloud_range=(0, 0, 0, 1, 1, 1))
SOUND = Path(__file__).resolve().parents[1] / "rules" / "pointpillar.yaml"


def _npy(header: str, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    size = 2 if version == (1, 0) else 4
    return (
        b"\x93NUMPY"
        + bytes(version)
        + len(header).to_bytes(size, "little")
        + header.encode()
        + body
    )


def _saved(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


_FLOATS = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n"
_PCD = "VERSION 0.7\nFIELDS {}\nSIZE {}\nTYPE {}\nCOUNT {}\nPOINTS {}\nDATA {}\n"
_XYZI_PCD = _PCD.format("x y z i", "4 4 4 4", "F F F F", "1 1 1 {}", "{}", "{}")
_PLY = "ply\nformat {} 1.0\nelement vertex {}\n{}end_header\n"
_XYZI = "property float x\nproperty float y\nproperty float z\nproperty float i\n"

POINTS: Mapping[str, bytes] = {
    "empty.npy": b"",
    "text.npy": b"hello",
    "magic.npy": b"\x93NUMPY",
    "version.npy": _npy(_FLOATS % "(1, 4)", version=(9, 9)),
    "cut.npy": _saved(np.ones((10, 4), np.float32))[:-1],
    "cut_header.npy": _saved(np.ones((10, 4), np.float32))[:40],
    "long_header.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100_000,
    "no_dict.npy": _npy("[]\n"),
    "code.npy": _npy("__import__('os').system('true')\n"),
    "deep.npy": _npy("(" * 9000 + "\n"),
    "deeper.npy": _npy("-" * 9000 + "1\n"),
    "dtype.npy": _npy("{'descr': 'no', 'fortran_order': False, 'shape': (1, 4)}\n"),
    "object.npy": _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 4)}\n", b"x" * 32),
    "petabytes.npy": _npy(_FLOATS % "(10**12, 4)".replace("10**12", "1" + "0" * 12)),
    "overflow.npy": _npy(_FLOATS % "(9223372036854775807, 9223372036854775807)"),
    "negative.npy": _npy(_FLOATS % "(-2, -2)", b"\0" * 64),
    "scalar.npy": _saved(1.0),
    "vector.npy": _saved([1.0, 2.0]),
    "cube.npy": _saved(np.ones((2, 2, 2))),
    "no_rows.npy": _saved(np.ones((0, 4))),
    "no_columns.npy": _saved(np.ones((4, 0))),
    "narrow.npy": _saved(np.ones((4, 2))),
    "nan.npy": _saved(np.full((4, 4), np.nan)),
    "infinite.npy": _saved(np.full((4, 4), 1e300)),
    "text_array.npy": _saved([["a", "b", "c", "d"]]),
    "complex.npy": _saved(np.ones((4, 4), complex)),
    "dates.npy": _saved(np.ones((4, 4), "datetime64[s]")),
    "records.npy": _saved(np.zeros(4, [("x", "f4"), ("y", "f4")])),
    "pickle.npy": pickle.dumps([1, 2, 3]),
    "zip.npy": b"PK\x03\x04" + b"\0" * 100,
    "gzip.npy": b"\x1f\x8b" + b"\0" * 100,
    "empty.bin": b"",
    "odd.bin": b"\0" * 17,
    "nan.bin": np.full((2, 4), np.nan, np.float32).tobytes(),
    "far.bin": np.full((2, 4), 1e30, np.float32).tobytes(),
    "empty.pcd": b"",
    "zeros.pcd": b"\0" * 1000,
    "endless.pcd": b"FIELDS x\n" * 100_000,
    "no_data.pcd": b"FIELDS x y z\nPOINTS 1\n",
    "fields.pcd": _PCD.format("a b c", "4 4 4", "F F F", "1 1 1", 1, "ascii").encode() + b"1 2 3",
    "lengths.pcd": _PCD.format("x y z", "4 4", "F F F", "1 1 1", 1, "ascii").encode() + b"1 2 3",
    "type.pcd": _PCD.format("x y z", "4 4 4", "Q F F", "1 1 1", 1, "ascii").encode() + b"1 2 3",
    "minus.pcd": _XYZI_PCD.format(1, -1, "ascii").encode(),
    "count.pcd": _XYZI_PCD.format(999999999, 1, "binary").encode(),
    "digits.pcd": _XYZI_PCD.format(1, "9" * 6000, "ascii").encode(),
    "points.pcd": _XYZI_PCD.format(1, 10**15, "binary").encode(),
    "words.pcd": _XYZI_PCD.format(1, 1, "ascii").encode() + b"a b c d",
    "wide.pcd": _XYZI_PCD.format(1, 1, "ascii").encode() + b"1" * 100_000,
    "packed.pcd": _XYZI_PCD.format(1, 1, "binary_compressed").encode(),
    "cut.pcd": _XYZI_PCD.format(1, 2, "binary").encode() + b"\0" * 31,
    "empty.ply": b"",
    "words.ply": b"ply\nend_header\n",
    "big_endian.ply": _PLY.format("binary_big_endian", 1, _XYZI).encode() + b"\0" * 16,
    "no_vertex.ply": b"ply\nformat ascii 1.0\nelement face 1\nend_header\n",
    "many.ply": _PLY.format("ascii", "9" * 5000, _XYZI).encode(),
    "more.ply": _PLY.format("binary_little_endian", 10**15, _XYZI).encode(),
    "lists.ply": _PLY.format("ascii", 1, "property list uchar int x\n").encode() + b"1 1",
    "half.ply": _PLY.format("ascii", 1, "property float x\n").encode() + b"1",
    "columns.ply": _PLY.format("ascii", 1, _XYZI + "property float a\n" * 3000).encode(),
    "header.ply": b"ply\n" + b"comment x\n" * 100_000 + b"end_header\n",
    "cut.ply": _PLY.format("binary_little_endian", 2, _XYZI).encode() + b"\0" * 31,
    "nan.ply": _PLY.format("ascii", 1, _XYZI).encode() + b"nan 0 0 0",
    "empty.npz": b"",
    "cut.npz": b"PK\x03\x04" + b"\0" * 100,
    "empty.txt": b"",
    "zeros.txt": b"\0" * 1000,
    "noise.csv": bytes(range(256)) * 10,
    "wide.csv": b"1," * 5000,
    "long.xyz": b"1" * 100_000,
    "lzf.pcd": _XYZI_PCD.format(1, 1, "binary_compressed").encode()
    + b"\xff\0\0\0\x10\0\0\0" + b"\xff" * 255,
    "bomb.pcd": _XYZI_PCD.format(1, 10**15, "binary_compressed").encode() + b"\xff" * 64,
    "image.png": b"\x89PNG",
    "none": b"x",
}  # fmt: skip

_WHOLE = {"big_endian.ply"}
"""Files that are sound."""


@pytest.mark.parametrize("name", [name for name in POINTS if name not in _WHOLE])
def test_a_hostile_point_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(POINTS[name])
    with pytest.raises(BevdiagError) as refused:
        read_points(path, LAYOUT)
    assert name in str(refused.value) or "too many for one batch" in str(refused.value)
    assert len(str(refused.value)) < len(str(path)) + 600


def test_points_that_are_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.bin").mkdir()
    (tmp_path / "zero.bin").symlink_to("/dev/zero")
    for name in ("folder.bin", "zero.bin", "none.bin"):
        with pytest.raises(BevdiagError, match=name):
            read_points(tmp_path / name, LAYOUT)


def test_a_batch_has_its_bounds(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1000, 4), np.float32))
    with pytest.raises(BevdiagError, match="too many for one batch"):
        read_samples([tmp_path / "a.npy"], LAYOUT, MAX_VALUES // 4000 + 1)


@pytest.mark.parametrize("name", ["cut.npy", "pickle.npy", "far.bin", "points.pcd", "many.ply"])
def test_a_hostile_point_file_ends_the_command_well(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(POINTS[name])
    ending = ended("inspect", str(SOUND), "--device", "meta", "--points", str(path))
    _check_refused(ending)


_DEEP = "[" * 100_000
_DEEP_TOML = "a = " + "[" * 5000
_ROW = {"peak_allocated_bytes": 1}

BASELINES: Mapping[str, str] = {
    "empty": "",
    "null": "null",
    "a list": "[]",
    "deep": _DEEP,
    "another schema": json.dumps({"schema": "x", "configs": {}}),
    "no configs": json.dumps({"schema": "bevdiag.baseline/1"}),
    "configs of text": json.dumps({"schema": "bevdiag.baseline/1", "configs": "x"}),
    "entries of text": json.dumps({"schema": "bevdiag.baseline/1", "configs": {"a": "\x1b[2J"}}),
    "a long number": '{"schema": "bevdiag.baseline/1", "configs": ' + "9" * 10_000 + "}",
    "control characters": '{"schema": "\x1b[2J"}',
}
POLICIES: Mapping[str, str] = {
    "no TOML": "[[[",
    "deep": _DEEP_TOML,
    "an unknown key": '"\\u001b[2J" = 1',
    "a number for text": "gpu = 1",
    "a table for text": "gpu = {}",
    "no GPU": 'gpu = "\\u001b[2J"',
    "no size": 'budget = "lots"',
    "a list of nothing": "config = [1]",
    "no files": "[[config]]\ngpu = 'A100'",
    "a number of files": "[[config]]\nfiles = 1",
    "ignored, not why": '[ignore]\nBEV001 = ""',
    "ignored, not a table": "ignore = 1",
    "counts of text": '[assume]\na = "b"',
    "a date": "batch_size = 2020-01-01",
    "infinity": "batch_size = inf",
    "minus": "batch_size = -1",
    "a long number": "batch_size = " + "9" * 5000,
    "two megabytes": "#" * 2**21,
}
LISTS: Mapping[str, str] = {
    "empty.txt": "",
    "zeros.txt": "\0" * 100,
    "noise.txt": "\x1b[2J",
    "long.txt": "a" * 100_000,
    "dashes.txt": "http://" + "a-" * 100_000 + ".whl",
    "itself.txt": "-r itself.txt",
    "often.txt": "torch==2.0\n" * 50_000,
    "many.txt": "\n".join(f"torch!=2.{n}" for n in range(50_000)),
    "joined.txt": "\\\n" * 100_000,
    "no.yml": "[",
    "list.yml": "[]",
    "deep.yml": "dependencies: " + _DEEP,
    "tag.yml": "dependencies: !!python/object/apply:os.system [x]",
    "null.yml": "dependencies: [~]",
    "number.yml": "dependencies: [{pip: 1}]",
    "aliases.yml": "a: &a {pip: ["
    + "-x, " * 10_000
    + "]}\ndependencies: ["
    + "*a, " * 10_000
    + "]",
    "large.yml": "dependencies:\n" + "- a\n" * 100_000,
}
ROWS: Mapping[str, str] = {
    "empty": "",
    "a list": "[]",
    "deep": _DEEP,
    "rows of text": '{"a": "peak_allocated_bytes"}',
    "rows of numbers": '{"a": 1}',
    "a row of nothing": json.dumps({"a": _ROW}),
    "a focal row of nothing": json.dumps({"a": {**_ROW, "bev_reads": "x"}}),
    "a config that is a list": json.dumps({"a": {**_ROW, "config": []}}),
    "a config that is far": json.dumps({"a": {**_ROW, "config": "\x00"}}),
}
OVERRIDES = (
    "", "=", "A", "=1", ".=1", "A..B=1", "MODEL=1", "MODEL=[", "MODEL=!!python/name:os x",
    "MODEL.VFE=" + "[" * 1000, "MODEL.VFE.NUM_FILTERS=" + "9" * 5000, "MODEL.\x1b[2J=1",
    "MODEL.VFE.NAME=\x1b[2J", "MODEL.VFE.NAME=<script>", "_BASE_CONFIG_=x", "CLASS_NAMES.9=x",
    "DATA_CONFIG.DATA_PROCESSOR.x.VOXEL_SIZE=1", "MODEL.VFE.NAME=" + "a" * 10_000, "MODEL: x=1",
    "OPTIMIZATION.BATCH_SIZE_PER_GPU=1e9",
)  # fmt: skip
_NEW_KEYS = ("MODEL.\x1b[2J=1", "MODEL: x=1")
LOGS: Mapping[str, bytes] = {
    "empty": b"",
    "noise": bytes(range(256)) * 100,
    "one long line": b"a" * 2**20,
    "lines": b"\n" * 2**20,
    "ranks": b"".join(b"[rank%d]: CUDA out of memory\n" % n for n in range(20_000)),
    "failures": b"CUDA out of memory. Tried to allocate 1.00 GiB\n" * 20_000,
    "workers": b"DataLoader worker (pid " * 50_000,
    "calls": b"Failed to CUDA " + b"alloc" * 100_000,
    "a long size": b"CUDA out of memory. Tried to allocate " + b"9" * 10_000 + b" GiB",
    "a long device": b"CUDA out of memory. Tried to allocate 1 GiB. GPU " + b"9" * 9000 + b";",
    "escapes": b"\x1b[" * 200_000,
    "tracebacks": b'Traceback (most recent call last):\n  File "' * 10_000,
}


def _check_refused(ending: Ending) -> None:
    assert ending.code == 2, ending
    assert ending.out == ""
    assert ending.err.startswith("error: ")
    assert ending.err.count("\n") == 1
    assert ending.err[:-1].isprintable()
    assert len(ending.err) < 2000


@pytest.mark.parametrize("name", BASELINES)
def test_a_hostile_baseline_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(BASELINES[name], encoding="utf-8")
    _check_refused(ended("preflight", str(SOUND), "--baseline", str(tmp_path / "base.json")))


@pytest.mark.parametrize("name", POLICIES)
def test_a_hostile_policy_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(SOUND.read_bytes())
    (tmp_path / "bevdiag.toml").write_text(POLICIES[name], encoding="utf-8")
    _check_refused(ended("preflight", str(tmp_path / "config.yaml")))


@pytest.mark.parametrize("name", LISTS)
def test_a_hostile_list_of_packages_ends_well(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LISTS[name], encoding="utf-8")
    _check_refused(ended("doctor", "--requirements", str(tmp_path / name)))


@pytest.mark.parametrize("name", ROWS)
def test_hostile_rows_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(ROWS[name], encoding="utf-8")
    _check_refused(ended("validate", "--rows", str(tmp_path / "rows.json")))


@pytest.mark.parametrize("text", OVERRIDES)
def test_a_hostile_override_is_refused(text: str) -> None:
    ending = ended("inspect", str(SOUND), "--device", "meta", "--no-remedies", "--set", text)
    # 0: a new key of any name may be set; nothing reads it.
    # 3: a module that no one knows leaves no verdict.
    allowed = {1, 2} | ({0} if text in _NEW_KEYS else set()) | ({3} if ".NAME=" in text else set())
    assert ending.code in allowed, ending
    assert (ending.out + ending.err).replace("\n", "").isprintable()
    assert "internal error" not in ending.err


@pytest.mark.parametrize("name", LOGS)
def test_a_hostile_log_ends_well(name: str, tmp_path: Path) -> None:
    (tmp_path / "train.log").write_bytes(LOGS[name])
    ending = ended("explain", "--log", str(tmp_path / "train.log"))
    assert ending.code in (0, 1, 2, 3), ending
    assert "internal error" not in ending.err
    assert (ending.out + ending.err).replace("\n", "").isprintable()
