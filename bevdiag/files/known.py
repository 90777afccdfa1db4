"""Which files this run has read and which it is to write: none may be both, none written twice.

A file is known by its device and inode, whatever it is called (a link, another spelling, another
hard link, a descriptor), and by its resolved name as well, since a replaced file has a new inode.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from bevdiag.errors import InputError

Mark = tuple[int, int] | str


_inputs: dict[Mark, str] = {}
"""By each mark the file, as it was spelled."""
_outputs: dict[Mark, str] = {}
_updated: dict[Mark, str] = {}
"""By each mark the option that named the file."""
_stdin: list[bytes] = []
"""What was read from there, for those who read the file `-`."""


def forget() -> None:
    """Begin a run: nothing has been read, nothing is to be written."""
    for account in (_inputs, _outputs, _updated, _stdin):
        account.clear()


def keep_stdin(data: bytes) -> None:
    """Stdin has been read: it can be only once."""
    _stdin.append(data)


def kept_stdin() -> bytes | None:
    """Return what `keep_stdin` was given in this run."""
    return _stdin[0] if _stdin else None


def note_input(path: Path, found: os.stat_result | None = None) -> None:
    """Note that a file is being read; `found` is what its open descriptor says of it.

    Raises:
        InputError: it is to be written.
    """
    if found is None:
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return
    marks = _marks(path, found)
    for mark in marks:
        _inputs.setdefault(mark, str(path))
    for mark in marks:
        if mark in _outputs:
            raise _is_read(_outputs[mark], str(path))


def inputs() -> dict[Mark, str]:
    """Return what has been read so far, for `add_inputs` in another process."""
    return dict(_inputs)


def add_inputs(others: dict[Mark, str]) -> None:
    """Note what a child process has read."""
    for mark, name in others.items():
        _inputs.setdefault(mark, name)


def note_output(path: Path, option: str, *, updated: bool = False) -> None:
    """Note that a file is to be written; one that is `updated` is read as well.

    Raises:
        InputError: another output is the same file, or it is read.
    """
    refuse_input(path, option)
    marks = _file_marks(path)
    for mark in marks:
        if mark in _outputs or mark in _updated:
            other = _outputs.get(mark) or _updated[mark]
            raise InputError(f"{option}: {path} is written by {other} too: name another file")
    known = _updated if updated else _outputs
    known.update(dict.fromkeys(marks, option))


def refuse_input(path: Path, option: str) -> None:
    """Refuse to write over a file that has been read.

    Raises:
        InputError: it has been.
    """
    for mark in _file_marks(path):
        if mark in _inputs:
            raise _is_read(option, _inputs[mark])


def _is_read(option: str, name: str) -> InputError:
    return InputError(f"{option}: {name} is read and cannot be written too: name another file")


def _file_marks(path: Path) -> Iterable[Mark]:
    """Return the marks of a plain file or one that is yet to be; none of a pipe or a device."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        found = None
    if found is not None and not stat.S_ISREG(found.st_mode):
        return ()
    return _marks(path, found)


def _marks(path: Path, found: os.stat_result | None) -> tuple[Mark, ...]:
    name = os.path.realpath(path)
    return (name,) if found is None else (name, (found.st_dev, found.st_ino))
