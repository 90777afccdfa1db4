"""One writer for every file: it appears whole or not at all, and what was there stays until then.

The text goes into a new file beside the old one, under a name that nobody can guess and that must
not exist, reaches the disk, and takes the old one's name in one step. Nothing else is ever opened
for writing, and no link is followed but those of the name that the user gave.
"""

import errno
import os
import secrets
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bevdiag.errors import InputError, OutputError
from bevdiag.files.known import note_output, refuse_input
from bevdiag.files.reading import reason

LOCK_SECONDS = 60.0
"""That another writer of the same folder is waited for."""

_TRIES_A_SECOND = 20
_UNLOCKABLE = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems say that have no locks for folders, NFS among them."""
_DESCRIPTORS = ("/proc/self/fd", "/proc/thread-self/fd", "/dev/fd")
_MOST_LINKS = 40
_NEW = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


def declare_output(path: Path, option: str, *, updated: bool = False) -> None:
    """Refuse, before any work is done, a file that cannot be written or must not be.

    Raises:
        InputError: it is a folder, lies in none, is write-protected, is read, or written twice.
    """
    try:
        if path.is_dir():
            raise InputError(f"{option}: {path} is a folder: name a file")
        real = Path(os.path.realpath(path))
        if not real.parent.is_dir():
            raise InputError(
                f"{option}: there is no folder {path.parent} to write {path.name} in"
                + ("" if real.name == path.name else f": it is a link to {real}")
            )
        why = None if _descriptor(path) is not None else _protected(real)
    except (OSError, ValueError) as error:
        why = reason(error)
    if why:
        raise InputError(f"{option}: {path} cannot be written: {why}")
    note_output(path, option, updated=updated)


def _protected(path: Path) -> str | None:
    """Why a file cannot be replaced, if it cannot."""
    if path.exists():
        if not os.access(path, os.W_OK):
            return "it is write-protected"
        if not path.is_file():
            return None
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"the folder {path.parent} is write-protected"
    return None


def write_file(path: Path, data: bytes, option: str, *, updated: bool = False) -> None:
    """Put the bytes in place of a file, which keeps its permissions; a link stays a link.

    A pipe or a device such as /dev/null, and what a descriptor stands for, is written to.

    Args:
        path: the file.
        data: all of its bytes.
        option: what named it, for sentences.
        updated: it has been read, under the lock of `locked`, to become this.

    Raises:
        InputError: it has been read.
        OutputError: it cannot be written, and is as it was.
    """
    if not updated:
        refuse_input(path, option)
    try:
        descriptor = _descriptor(path)
        real = Path(os.path.realpath(path))
        if descriptor is not None:
            write_all(descriptor, data)
        elif real.exists() and not real.is_file():
            # A pipe that nobody reads is refused rather than waited for.
            with _opened(real, os.O_WRONLY | _AT_ONCE) as through:
                write_all(through, data)
        else:
            _replace(real, data)
    except (OSError, ValueError) as error:
        is_unread = getattr(error, "errno", None) == errno.ENXIO
        why = "nobody reads this pipe" if is_unread else reason(error)
        raise OutputError(f"{option}: {path} cannot be written: {why}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others who would update a file out while it is read, changed and replaced.

    The folder is locked, not the file, which gets replaced: nothing is left behind.

    Raises:
        OutputError: another process has held the lock for `LOCK_SECONDS`.
    """
    if sys.platform == "win32":
        yield
        return
    real = Path(os.path.realpath(path))
    try:
        folder = os.open(real.parent, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"{path} cannot be updated: {error.strerror}") from error
    try:
        _lock(folder, real)
        yield
    finally:
        os.close(folder)  # and with it the lock


def _lock(folder: int, path: Path) -> None:
    import fcntl

    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OutputError(
                    f"{path} is being updated by another process, which has not ended within "
                    f"{LOCK_SECONDS:g} s: try again"
                ) from None
            time.sleep(1 / _TRIES_A_SECOND)
        except OSError as error:
            if error.errno in _UNLOCKABLE:
                return
            raise


def _replace(path: Path, data: bytes) -> None:
    old = _status(path)
    # Not after the file's name, which may be as long as a name can be.
    unfinished = path.with_name(f".bevdiag-{secrets.token_hex(12)}.tmp")
    descriptor = os.open(unfinished, _NEW, 0o666 if old is None else 0o600)
    try:
        try:
            write_all(descriptor, data)
            if old is not None:
                _give_permissions(descriptor, old)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    # The file is there, and whole, whenever its name reaches the disk.
    with suppress(OSError), _opened(path.parent, os.O_RDONLY) as folder:
        os.fsync(folder)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _status(path: Path) -> os.stat_result | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EEXIST, "what the name stands for has changed")
    return found


def _give_permissions(descriptor: int, old: os.stat_result) -> None:
    if sys.platform != "win32":
        with suppress(PermissionError):  # another's file in a folder of ours
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, however little is taken at a time.

    Raises:
        OSError: it is not taken.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # whoever opened the other end has made this one impatient
            select.select([], [descriptor], [])


def _descriptor(path: Path) -> int | None:
    """Return the number of this process's descriptor that the path, as /dev/stdout, stands for."""
    folders = {os.path.realpath(folder) for folder in _DESCRIPTORS}
    here = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(here)
        folder = os.path.realpath(folder)
        if folder in folders and name.isdecimal():
            return int(name)
        try:
            here = os.path.join(folder, os.readlink(os.path.join(folder, name)))
        except OSError:
            return None
    return None
