"""Refuses what cannot be diverted: writing past Python's own functions, programs, connections.

Python's audit events tell of every such thing that Python code does, and where the kernel has
Landlock, it holds what compiled code does to the same folder. A program that Python code starts
by its usual functions is not started, and the code goes on as if it had said nothing.
"""

import ctypes
import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from bevdiag.source.cuda_api import Idle
from bevdiag.source.scratch import Scratch
from bevdiag.trace import rehearsal
from bevdiag.trace.places import user_place

_FIRST = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.truncate": None, "os.chmod": 2,
          "os.chown": 3, "os.utime": 3, "os.setxattr": None, "os.removexattr": None}  # fmt: skip
"""Events whose first argument is the path that changes, and where the folder's descriptor is."""
_SECOND = ("os.rename", "os.link", "os.symlink")
_REFUSED = {
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"),
        "start a program",
    ),
    **dict.fromkeys(("os.fork", "os.forkpty"), "start a process"),
    **dict.fromkeys(("os.kill", "os.killpg"), "signal a process"),
    "socket.connect": "connect to a host",
}
_WATCHED = frozenset({"open", *_FIRST, *_SECOND, *_REFUSED})

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_SET_NO_NEW_PRIVILEGES = 38
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_WRITING = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_REFER = 1 << 13
_TCP = 0b11


def lock(scratch: Scratch) -> None:
    """From here on, this process writes to the scratch folder alone."""
    _ask_kernel(scratch.folder)

    def check(path: Any, dir_fd: Any = None) -> None:
        if not scratch.owns(path, dir_fd):
            raise _refusal(f"write to {os.fsdecode(path)}")

    def audit(event: str, args: tuple[Any, ...]) -> None:
        # A rehearsal is a fork of bevdiag's own, under the same locks.
        if event not in _WATCHED or sys._getframe(1).f_code.co_filename == rehearsal.__file__:
            return
        if event in _REFUSED:
            raise _refusal(_REFUSED[event])
        if event == "open":
            path, _, flags = args
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                check(path)
        elif event in _SECOND:
            check(args[1])
        else:
            where = _FIRST[event]
            check(args[0], dir_fd=None if where is None else args[where])

    sys.addaudithook(audit)


def _refusal(what: str) -> PermissionError:
    place = user_place(sys._getframe(1), "a package")
    return PermissionError(f"{place} would {what}, which is refused while the step is traced")


def _ask_kernel(folder: Path) -> bool:
    """Whether Linux now holds this thread, and those it starts, to the folder and to devices."""
    if sys.platform != "linux":
        return False
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 3:  # older ones cannot stop a file from being cut
        return False
    # What is held: files and, from version 4 on, the network.
    files = _WRITING | _REFER | _TRUNCATE
    held = struct.pack("=QQ", files, _TCP) if version >= 4 else struct.pack("=Q", files)
    ruleset = call(_CREATE_RULESET, held, ctypes.c_size_t(len(held)), 0)
    if ruleset < 0:
        return False
    try:
        for path, allowed in ((folder, files), ("/dev", _WRITE_FILE | _TRUNCATE)):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            beneath = struct.pack("=Qi", allowed, descriptor)
            call(_ADD_RULE, ruleset, _PATH_BENEATH, beneath, 0)
            os.close(descriptor)
        ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(call(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


class NoProcess(Idle):
    """Stands for `subprocess.Popen`: a program that has said nothing and ended well."""

    findings: list[str] = []  # noqa: RUF012 - one a process, set by `divert_programs`
    pid = returncode = 0

    def __init__(self, args: Any, *_: Any, **options: Any) -> None:
        self.args = args
        is_text = any(map(options.get, ("text", "universal_newlines", "encoding", "errors")))
        for name in ("stdin", "stdout", "stderr"):
            is_piped = options.get(name) == subprocess.PIPE
            setattr(self, name, (io.StringIO() if is_text else io.BytesIO()) if is_piped else None)
        _note(self.findings, args)

    def __class_getitem__(cls, _: object) -> Any:
        return cls

    def communicate(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        return self.stdout and self.stdout.read(), self.stderr and self.stderr.read()

    def wait(self, *_: Any, **__: Any) -> int:
        return 0

    poll = wait


def divert_programs(findings: list[str]) -> None:
    """From here on, no program is started; a sentence for each place that would."""
    NoProcess.findings = findings

    def system(command: Any) -> int:
        _note(findings, command)
        return 0

    subprocess.Popen = NoProcess  # type: ignore[misc,assignment]
    os.system = system


def _note(findings: list[str], command: Any) -> None:
    words = command if isinstance(command, (str, bytes)) else " ".join(map(os.fsdecode, command))
    findings.append(
        f"{user_place(sys._getframe(2), 'a package')}: the program `{os.fsdecode(words)[:80]}` was "
        "not started; the code goes on as if it had said nothing"
    )
