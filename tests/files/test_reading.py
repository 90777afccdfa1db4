"""Whatever a name stands for, reading it ends, and takes no more than it may."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from bevdiag.errors import InputError
from bevdiag.files import known
from bevdiag.files.reading import read_file, read_part, read_stdin_tail, take_stdin


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    known.forget()


def test_a_plain_file_whole_its_head_and_its_tail(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_file(path, 10) == b"0123456789"
    assert read_part(path, 3) == b"012"
    assert read_part(path, 3, tail=True) == b"789"
    assert read_part(path, 100, tail=True) == b"0123456789"
    (tmp_path / "link").symlink_to(path)
    assert read_file(tmp_path / "link", 10) == b"0123456789"


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with pytest.raises(
        InputError, match=r"file cannot be read: it is larger than 9 bytes: no log$"
    ):
        read_file(tmp_path / "file", 9, instead="no log")


def test_a_file_without_end_is_refused() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has such files")
    with pytest.raises(InputError, match=r"larger than 1000 bytes|cannot be read"):
        read_file(Path("/proc/self/pagemap"), 1000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("read", [read_file, read_part])
def test_what_is_no_plain_file_is_refused_at_once(read, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    kinds = {
        "pipe": "this is a pipe",
        "link": "this is a pipe",
        "/dev/zero": "this is a device",
        ".": "this is a folder",
        "none": "there is no such file",
        "a\0b": "null",
        "file/below": "there is no such file|Not a directory",
    }
    with socket.socket(socket.AF_UNIX) as listener:
        # Of a short name: a socket's has room for a hundred characters.
        folder = os.open(tmp_path, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{folder}/s")
        kinds["s"] = "this is a socket"
        for name, reason in kinds.items():
            with pytest.raises(InputError, match=f"cannot be read: .*({reason})"):
                read(tmp_path / name, 1000)
        os.close(folder)


def test_stdin_that_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"0123456789")
    os.close(write_end)
    with open(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert read_stdin_tail(4, 20) == b"6789"


def test_stdin_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    began = time.monotonic()
    with open(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(
            InputError, match=r"stdin has said nothing for 0\.1 s and has not ended"
        ):
            read_stdin_tail(4, 0.1)
        monkeypatch.setattr("bevdiag.files.reading.STDIN_SECONDS", 0.1)
        with pytest.raises(InputError, match=r"has not ended: give a file$"):
            take_stdin(4)
    os.close(write_end)
    assert time.monotonic() - began < 20


def test_stdin_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bevdiag.files.reading.MOST_STDIN_BYTES", 2**24)
    with open("/dev/zero") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(InputError, match="stdin has more than 16777216 bytes"):
            read_stdin_tail(1000, 20)
