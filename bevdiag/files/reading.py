"""One reader for every text that others have written: a plain file or stdin, and never too much.

Opening a pipe waits for its writer and reading a device may never end; so what a name stands for is
looked at before it is opened, and again once it is.
"""

import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import TypeVar

from bevdiag.errors import InputError
from bevdiag.files.bounds import check_json
from bevdiag.files.known import keep_stdin, kept_stdin, note_input

STDIN = "-"
STDIN_SECONDS = 60.0
"""Of silence, after which stdin is no longer waited for."""
MOST_STDIN_BYTES = 2**30

_Read = TypeVar("_Read")
_CHUNK = 2**20
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)
_KINDS = (
    (stat.S_ISDIR, "this is a folder"),
    (stat.S_ISFIFO, "this is a pipe: give a plain file"),
    (stat.S_ISSOCK, "this is a socket: give a plain file"),
    (stat.S_ISCHR, "this is a device: give a plain file"),
    (stat.S_ISBLK, "this is a device: give a plain file"),
)


def read_file(path: Path, most: int, *, instead: str = "") -> bytes:
    """All bytes of a plain file.

    Args:
        path: the file; links are followed.
        most: bytes that it may have.
        instead: what a sentence about a larger one ends with, e.g. "that is no list of packages".

    Raises:
        InputError: it cannot be read, is no plain file, or is larger.
    """
    data = read_part(path, most + 1)
    if len(data) > most:
        raise InputError(
            f"{path} cannot be read: it is larger than {most} bytes"
            + (f": {instead}" if instead else "")
        )
    return data


def read_json(path: Path, kind: type[_Read], most: int, expected: str) -> _Read:
    """Read JSON as a class that pydantic checks it by.

    Args:
        path: the file; links are followed.
        kind: a model or a dataclass.
        most: bytes that it may have.
        expected: what a sentence about another file ends with, e.g. "expected a profile".

    Raises:
        InputError: it cannot be read, or holds something else; the first wrong place is named.
    """
    from pydantic import TypeAdapter, ValidationError

    data = read_file(path, most, instead=expected)
    try:
        check_json(data)
        return TypeAdapter(kind).validate_json(data)
    except InputError as error:
        raise InputError(f"{path}: {error}: {expected}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"{path}: {where + ': ' if where else ''}{reason}; {expected}") from error


def read_part(path: Path, most: int, *, tail: bool = False) -> bytes:
    """Read the first bytes of a plain file, or the last where its `tail` is wanted, `most` of them.

    Raises:
        InputError: it cannot be read, or is no plain file.
    """
    if str(path) == STDIN and (kept := kept_stdin()) is not None:
        return kept[:most]
    try:
        _require_plain(os.stat(path))
        descriptor = os.open(path, _FLAGS)
        with open(descriptor, "rb", buffering=0) as stream:
            found = os.fstat(descriptor)
            _require_plain(found)
            note_input(path, found)
            if tail:
                stream.seek(max(0, found.st_size - most))
            return _up_to(stream.fileno(), most)
    except FileNotFoundError as error:
        raise InputError(f"{path} cannot be read: there is no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Say what the system says, without its number and the file's name."""
    return getattr(error, "strerror", None) or str(error)


def _require_plain(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kinds = (said for is_kind, said in _KINDS if is_kind(found.st_mode))
        raise ValueError(next(kinds, "this is no plain file"))


def _up_to(descriptor: int, most: int) -> bytes:
    """Read what is there, at most `most` bytes: a file of /proc has no size and may never end."""
    parts, left = [], most
    while left and (part := os.read(descriptor, min(_CHUNK, left))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_stdin_tail(most: int, seconds: float | None = None) -> bytes:
    """Read the last bytes of stdin, `most` of them.

    Args:
        most: bytes to keep.
        seconds: of silence that --timeout lets pass; None where nothing changes `STDIN_SECONDS`.

    Raises:
        InputError: stdin cannot be read, says nothing and does not end, or says far too much.
    """
    limit, advice = STDIN_SECONDS, "give a file"
    if seconds is not None:
        limit, advice = seconds, "give a file, or more time with --timeout"
    kept, seen = bytearray(), 0
    try:
        descriptor = sys.stdin.fileno()
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            note_input(Path(f"/dev/fd/{descriptor}"), found)
        while more := _next(descriptor, limit, advice):
            seen += len(more)
            if seen > MOST_STDIN_BYTES:
                raise InputError(f"stdin has more than {MOST_STDIN_BYTES} bytes: give a file")
            kept += more
            if len(kept) > 2 * most:
                del kept[:-most]
    except (OSError, ValueError) as error:
        raise InputError(f"stdin cannot be read: {reason(error)}") from error
    return bytes(kept[-most:])


def take_stdin(most: int) -> None:
    """Read stdin as the file `-` of this run.

    Raises:
        InputError: it cannot be read, or has more than `most` bytes.
    """
    if kept_stdin() is None:
        data = read_stdin_tail(most + 1)
        if len(data) > most:
            raise InputError(f"stdin has more than {most} bytes: no config")
        keep_stdin(data)


def _next(descriptor: int, seconds: float, advice: str) -> bytes:
    """Read the next bytes; none at the end."""
    deadline = time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise InputError(
                f"stdin has said nothing for {seconds:g} s and has not ended: {advice}"
            )
        try:
            return os.read(descriptor, _CHUNK)
        except BlockingIOError:
            continue
