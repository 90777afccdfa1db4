"""Programs that the repository's code would start: none is, and the code goes on."""

import io
import os
import subprocess
import sys
from typing import Any

from bevdiag.trace.places import user_place


class NoProcess:
    """Stands for `subprocess.Popen`: a program that has said nothing and ended well."""

    findings: list[str] = []  # noqa: RUF012 - one a process, set by `divert_programs`

    def __init__(self, args: Any, *_: Any, **options: Any) -> None:
        self.args = args
        self.pid = 0
        self.returncode = 0
        self._is_text = any(
            options.get(name) for name in ("text", "universal_newlines", "encoding", "errors")
        )
        for name in ("stdin", "stdout", "stderr"):
            piped = options.get(name) == subprocess.PIPE
            setattr(self, name, self._nothing() if piped else None)
        _note(self.findings, args)

    def __class_getitem__(cls, _: object) -> Any:
        return cls

    def __enter__(self) -> "NoProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def communicate(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        return tuple(  # type: ignore[return-value]
            None if getattr(self, name) is None else self._nothing().read()
            for name in ("stdout", "stderr")
        )

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def poll(self) -> int:
        return 0

    def kill(self) -> None:
        pass

    terminate = kill

    def send_signal(self, signal: int) -> None:
        pass

    def _nothing(self) -> Any:
        return io.StringIO() if self._is_text else io.BytesIO()


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
