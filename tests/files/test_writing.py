"""A file is as it was or as it is meant to be, whatever happens while it is written."""

import fcntl
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bevdiag.errors import InputError, OutputError
from bevdiag.files import writing
from bevdiag.files.known import forget
from bevdiag.files.writing import declare_output, locked, write_file

CALLS = ("lstat", "open", "write", "fchown", "fchmod", "fsync", "close", "replace")
"""What the writer asks of the system, in its order."""


class FailingSystem:
    """Stands before `os` and acts before the call of a number, counted from 1."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self._left, self._act = number, act
        self.reached = False

    def __getattr__(self, name: str) -> Any:
        plain = getattr(os, name)
        return self._counted(plain) if name in CALLS else plain

    def _counted(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.reached = True
                self._act()
            return plain(*arguments, **named)

        return call


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    forget()


@pytest.fixture(params=["file", "link", "new"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file, a link to one, or a name that is free."""
    folder = tmp_path / "folder"
    folder.mkdir()
    if request.param == "new":
        yield folder / "new"
        return
    (folder / "file").write_text("before", encoding="utf-8")
    (folder / "link").symlink_to("file")
    yield folder / request.param


def content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def written(path: Path) -> str:
    """Why the file cannot be written; empty where it was."""
    try:
        write_file(path, b"after", "-o")
    except OutputError as error:
        return str(error)
    return ""


def fail() -> None:
    raise OSError(28, "No space left on device")


def test_a_call_that_fails_leaves_everything_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, beside = content(path), sorted(path.parent.iterdir())
    for number in range(1, 20):
        system = FailingSystem(number, fail)
        monkeypatch.setattr(writing, "os", system)
        reason = written(path)
        if not reason:
            break
        assert reason == f"-o: {path} cannot be written: No space left on device"
        assert content(path) == before
        assert sorted(path.parent.iterdir()) == beside
    # Opened, written, synced, closed and replaced: all of them have failed once.
    assert number > 6
    assert content(path) == "after"


def test_a_kill_leaves_the_old_file_or_the_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = content(path), set()
    for number in range(1, 20):
        child = os.fork()
        if child == 0:
            writing.os = FailingSystem(  # type: ignore[attr-defined]
                number, lambda: os.kill(os.getpid(), signal.SIGKILL)
            )
            try:
                write_file(path, b"after", "-o")
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        assert content(path) in (before, "after")
        seen.add(content(path))
        if os.waitstatus_to_exitcode(status) == 0:
            break
        if before is not None:
            path.write_text(before, encoding="utf-8")
        else:
            path.unlink(missing_ok=True)
    assert number > 6
    assert seen == {before, "after"}


def test_a_short_write_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: plain(descriptor, data[:3]))
    write_file(path, b"0123456789", "-o")
    assert path.read_bytes() == b"0123456789"


def test_no_name_beside_the_file_is_followed(path: Path, tmp_path: Path) -> None:
    """Every name that may have been foreseen is a link to what must stay as it is."""
    victim = tmp_path / "victim"
    victim.write_text("untouched", encoding="utf-8")
    for name in (f".{path.name}.{os.getpid()}.tmp", f"{path.name}.tmp", f".{path.name}.lock"):
        (path.parent / name).symlink_to(victim)
    write_file(path, b"after", "-o")
    assert content(victim) == "untouched"
    assert content(path) == "after"
    assert not path.resolve().is_symlink()


def test_a_name_that_is_taken_is_an_error(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched", encoding="utf-8")
    monkeypatch.setattr(writing.secrets, "token_hex", lambda size: "foreseen")
    (path.parent / ".bevdiag-foreseen.tmp").symlink_to(victim)
    before = content(path)
    with pytest.raises(OutputError, match="cannot be written: File exists"):
        write_file(path, b"after", "-o")
    assert (content(path), content(victim)) == (before, "untouched")
    assert (path.parent / ".bevdiag-foreseen.tmp").is_symlink()


def test_permissions_stay_and_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.touch(mode=0o640)
    path.chmod(0o640)
    link.symlink_to(path)
    write_file(link, b"after", "-o")
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.read_bytes() == b"after"


def test_a_link_to_nothing_makes_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new")
    declare_output(tmp_path / "link", "-o")
    write_file(tmp_path / "link", b"after", "-o")
    assert (tmp_path / "new").read_bytes() == b"after"


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_file(tmp_path / ("a" * 255), b"after", "-o")
    assert [path.name for path in tmp_path.iterdir()] == ["a" * 255]


def test_a_descriptor_is_written_to(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    (tmp_path / "link").symlink_to(f"/dev/fd/{write_end}")
    write_file(Path(f"/dev/fd/{write_end}"), b"one ", "-o")
    write_file(tmp_path / "link", b"two", "-o")
    assert os.read(read_end, 100) == b"one two"
    os.close(read_end)
    os.close(write_end)
    with (tmp_path / "file").open("w+b") as stream:
        stream.write(b"before, ")
        stream.flush()
        write_file(Path(f"/dev/fd/{stream.fileno()}"), b"after", "-o")
    assert (tmp_path / "file").read_bytes() == b"before, after"


def test_devices_and_pipes_are_written_through(tmp_path: Path) -> None:
    write_file(Path("/dev/null"), b"after", "-o")
    with pytest.raises(OutputError, match="-o: /dev/full cannot be written: No space left"):
        write_file(Path("/dev/full"), b"after", "-o")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe cannot be written: nobody reads this pipe"):
        write_file(tmp_path / "pipe", b"after", "-o")


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to(tmp_path / "nowhere/file")
    for name, reason in {
        "": "is a folder",
        "nowhere/file": "there is no folder",
        "away": "there is no folder .*: it is a link to",
        "a\0b": "null",
    }.items():
        with pytest.raises(InputError, match=f"^-o: .*{reason}"):
            declare_output(tmp_path / name, "-o")
    if os.geteuid() == 0:
        return  # may write everything
    (tmp_path / "file").touch(mode=0o444)
    with pytest.raises(InputError, match="it is write-protected"):
        declare_output(tmp_path / "file", "-o")


def test_two_writers_of_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_text("", encoding="utf-8")
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            try:
                with locked(path):
                    text = path.read_text(encoding="utf-8")
                    write_file(path, f"{text}{number}\n".encode(), "FILE", updated=True)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert sorted(path.read_text(encoding="utf-8").split()) == [str(n) for n in range(8)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["numbers"]


def test_a_lock_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LOCK_SECONDS", 0.1)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    began = time.monotonic()
    with (
        pytest.raises(OutputError, match="is being updated by another process"),
        locked(tmp_path / "file"),
    ):
        pass
    os.close(other)
    assert time.monotonic() - began < 20


def test_a_folder_without_locks_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    assert sys.platform != "win32"
    monkeypatch.setattr(fcntl, "flock", unknown)
    with locked(tmp_path / "file"):
        write_file(tmp_path / "file", b"after", "FILE", updated=True)
    assert (tmp_path / "file").read_bytes() == b"after"
