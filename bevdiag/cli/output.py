"""Where a report goes: stdout or a file; everything else goes to stderr."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bevdiag.errors import BevdiagError, ExitCode, InputError, RepositoryError
from bevdiag.report.layout import Layout, layout_of

STDOUT = "-"

_Report = TypeVar("_Report")


def say(message: str) -> None:
    """One neutralised line on stderr."""
    from bevdiag.report.printable import printable

    encoding = sys.stderr.encoding or "ascii"
    line = printable(message).encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=sys.stderr)


def say_error(error: Exception, *, verbose: bool = False) -> ExitCode:
    """One sentence on stderr for what ended the work, and the exit code that it leads to.

    Where the user's own code failed, the last lines of its traceback follow; `verbose`, like
    BEVDIAG_DEBUG=1, asks for all of them.
    """
    if isinstance(error, BevdiagError):
        say(f"error: {error}")
        if isinstance(error, RepositoryError):
            everything = verbose or os.environ.get("BEVDIAG_DEBUG") == "1"
            for line in error.details.splitlines() if everything else error.frames:
                say(f"  {line}")
        return error.exit_code
    if isinstance(error, MemoryError):
        say("error: this machine's memory does not suffice")
        return ExitCode.NO_VERDICT
    if os.environ.get("BEVDIAG_DEBUG") == "1":
        traceback.print_exception(error)
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    say(f"internal error: {reason}; this is a defect of bevdiag (BEVDIAG_DEBUG=1 shows where)")
    return ExitCode.NO_VERDICT


def say_report(report: str) -> None:
    """A report's lines on stderr."""
    for line in report.rstrip("\n").split("\n"):
        say(line)


def layout_for(output: str) -> Layout:
    """What the reader of `output` can see: a file is laid out like a pipe."""
    return layout_of(sys.stdout) if output == STDOUT else Layout()


def check_output(output: str, option: str = "-o") -> None:
    """Refuses, before any work is done, a file that cannot be written.

    Raises:
        InputError: it is a folder, or lies in none.
    """
    path = Path(output)
    if output == STDOUT:
        return
    if path.is_dir():
        raise InputError(f"{option}: {output} is a folder: name a file")
    if not path.parent.is_dir():
        raise InputError(f"{option}: there is no folder {path.parent} to write {path.name} in")


def check_page(html: str | None) -> None:
    """Like `check_output`, for the page beside the report, which has stdout to itself.

    Raises:
        InputError: it cannot be written, or is stdout.
    """
    if html == STDOUT:
        raise InputError("--html: name a file; stdout is the report's")
    if html is not None:
        check_output(html, "--html")


def check_binary(output: str, what: str) -> None:
    """Refuses to fill a terminal with bytes.

    Raises:
        InputError: `output` is a terminal.
    """
    if output == STDOUT and sys.stdout.isatty():
        raise InputError(f"{what} is no text: name a file with -o")


def write_output(report: str | bytes, output: str, option: str = "-o") -> None:
    """Writes the report; a file appears whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    if output == STDOUT:
        _print(report)
        return
    path = Path(output)
    data = report.encode() if isinstance(report, str) else report
    try:
        if path.exists() and not path.is_file():
            # A pipe or a device such as /dev/null: written to, never replaced.
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except OSError as error:
        raise InputError(f"{option}: {output} cannot be written: {error.strerror}") from error


def write_report(
    report: _Report,
    output_format: str,
    output: str,
    *,
    as_text: Callable[[_Report, Layout], str],
) -> None:
    """Writes the report as JSON or as text.

    Raises:
        InputError: the file cannot be written.
    """
    if output_format == "json":
        from bevdiag.report.as_json import as_json

        write_output(as_json(report), output)
    else:
        write_output(as_text(report, layout_for(output)), output)


def _replace(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _print(report: str | bytes) -> None:
    try:
        if isinstance(report, str):
            sys.stdout.write(report)
        else:
            sys.stdout.buffer.write(report)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; what is still buffered must not fail at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
