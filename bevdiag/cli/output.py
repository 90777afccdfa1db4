"""Where a report goes and in which format: stdout or a file; everything else goes to stderr."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bevdiag.errors import BevdiagError, ExitCode, InputError, OutputError, RepositoryError
from bevdiag.files.writing import declare_output, write_all, write_file
from bevdiag.prediction.values import choose
from bevdiag.report.printable import Layout, layout_of

if TYPE_CHECKING:
    from bevdiag.report.text.prose import Page

STDOUT = "-"

_NAMES = (
    "EAGAIN", "EDQUOT", "EFBIG", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EROFS",
)  # fmt: skip
_REFUSED = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))
"""What the system says where a limit, a disk or the memory is at its end."""

_Report = TypeVar("_Report")


def say(message: str) -> None:
    """One neutralised line on stderr."""
    from bevdiag.report.printable import inert, printable

    encoding = sys.stderr.encoding or "ascii"
    line = inert(printable(message)).encode(encoding, "backslashreplace").decode(encoding)
    with suppress(OSError, ValueError):  # nobody listens; the exit code still says it
        print(line, file=sys.stderr, flush=True)


def say_error(error: Exception, *, verbose: bool = False, following: str = "") -> ExitCode:
    """One sentence on stderr for what ended the work, and the exit code that it leads to.

    Where the user's own code failed, the last lines of its traceback follow; `verbose`, like
    BEVDIAG_DEBUG=1, asks for all of them. `following` is the command that goes on from there.
    """
    from bevdiag.children import exhausts_host

    if isinstance(error, BevdiagError):
        joined = " Next: " if str(error).endswith("?") else "; next: "
        say(f"error: {error}{joined}{following}" if following else f"error: {error}")
        if isinstance(error, RepositoryError):
            everything = verbose or os.environ.get("BEVDIAG_DEBUG") == "1"
            for line in error.details.splitlines() if everything else error.frames:
                say(f"  {line}")
        return error.exit_code
    if exhausts_host(error):
        say("error: this machine's memory does not suffice")
        return ExitCode.NO_VERDICT
    if os.environ.get("BEVDIAG_DEBUG") == "1":
        for line in "".join(traceback.format_exception(error)).splitlines():
            say(line)
    if isinstance(error, OSError) and error.errno in _REFUSED:
        say(f"error: this machine refuses what is needed: {error.strerror}")
        return ExitCode.NO_VERDICT
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    say(f"internal error: {reason}; this is a defect of bevdiag (BEVDIAG_DEBUG=1 shows where)")
    return ExitCode.NO_VERDICT


def say_report(report: str) -> None:
    """Print a report's lines on stderr."""
    for line in report.rstrip("\n").split("\n"):
        say(line)


def layout_for(output: str) -> Layout:
    """Return the layout for the reader of `output`: a file is laid out like a pipe."""
    return layout_of(sys.stdout) if output == STDOUT else Layout()


def check_output(output: str, option: str = "-o", *, updated: bool = False) -> None:
    """Refuses, before any work is done, a file that cannot be written.

    An `updated` one may be read first.

    Raises:
        InputError: it is a folder, lies in none, is read, or is named twice.
    """
    if output != STDOUT:
        declare_output(Path(output), option, updated=updated)


def write_output(
    report: str | bytes,
    output: str,
    option: str = "-o",
    *,
    exact: bool = False,
    updated: bool = False,
) -> None:
    """Write the report; a file appears whole or not at all.

    Args:
        report: text, or bytes that are none.
        output: a file, or `STDOUT`.
        option: what named the file.
        exact: whether the text is no prose: lines of it may be commands to the reader.
        updated: whether the file was read to become this.

    Raises:
        InputError: the file has been read, for something else.
        OutputError: it cannot be written.
    """
    if isinstance(report, str) and not exact:
        from bevdiag.report.printable import inert

        report = inert(report, coloured=layout_for(output).colour)
    if output == STDOUT:
        _print(report)
    else:
        data = report.encode("utf-8", "backslashreplace") if isinstance(report, str) else report
        write_file(Path(output), data, option, updated=updated)


@dataclass(frozen=True, slots=True)
class Output:
    """Where a report goes, and in which format.

    Attributes:
        format: text, or one of those for machines.
        file: its name, or `STDOUT`.
        option: what named the file.
        page: the file of a page for a browser beside it, None without one.
    """

    format: str = "text"
    file: str = STDOUT
    option: str = "-o"
    page: str | None = None

    def rendered(
        self, report: _Report, as_text: "Callable[[Page, _Report], None] | None" = None
    ) -> str:
        """Render the report; `as_text` writes the command's own text."""
        if as_text is None or self.format != "text":
            return renderer(self.format)(report)
        from bevdiag.report.text.prose import rendered

        return rendered(layout_for(self.file), as_text, report)

    def write(
        self, report: _Report, as_text: "Callable[[Page, _Report], None] | None" = None
    ) -> None:
        """Write the report; of GitHub's, lines are meant as commands.

        Raises:
            InputError: the file has been read.
            OutputError: it cannot be written.
        """
        is_exact = self.format == "github"
        write_output(self.rendered(report, as_text), self.file, self.option, exact=is_exact)

    def write_page(self, report: object) -> None:
        """Write the page, where one is wanted.

        Raises:
            OutputError: it cannot be written.
        """
        if self.page is not None:
            from bevdiag.report.html.report_pages import page_of

            write_output(page_of(report), self.page, "--html", exact=True)


def _print(report: str | bytes) -> None:
    """Everything at once to the descriptor: no buffer is left that fails when the process ends."""
    encoding = sys.stdout.encoding or "ascii"
    data = report.encode(encoding, "backslashreplace") if isinstance(report, str) else report
    flush_stdout()
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # replaced by something that is no file
        print(report.decode(encoding, "replace") if isinstance(report, bytes) else report, end="")
        return
    try:
        write_all(descriptor, data)
    except OSError as error:
        _give_up(error)


def flush_stdout() -> None:
    """Let go of what others have printed.

    Raises:
        OutputError: it is not taken.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        _give_up(error)


def _give_up(error: OSError) -> None:
    """Drop what is still buffered, which must not fail when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    if not isinstance(error, BrokenPipeError):  # whose reader has seen enough
        raise OutputError(f"stdout cannot be written: {error.strerror}") from error


MACHINE_FORMATS = ("json", "sarif", "junit", "github", "markdown")
CHECK_FORMATS = ("text", *MACHINE_FORMATS)
MEMORY_VIZ = "memory-viz"
INSPECT_FORMATS = (*CHECK_FORMATS, MEMORY_VIZ)


def renderer(output_format: str) -> Callable[[Any], str]:
    """Return what writes checks, or as JSON any report, in one of the formats for machines."""
    name = "as_json" if output_format == "json" else output_format
    render: Callable[[Any], str] = getattr(import_module(f"bevdiag.report.{name}"), name)
    return render


def further_outputs(texts: Sequence[str] | None) -> list[Output]:
    """Read the --also values, formats and files, each of which can be written.

    Raises:
        InputError: one is not FORMAT=FILE, or names a format or a file that cannot be.
    """
    outputs = []
    for text in texts or ():
        output_format, _, file = text.partition("=")
        if not file or file == STDOUT:
            raise InputError(f"--also: {text!r} is not of the form FORMAT=FILE")
        check_output(file, "--also")
        outputs.append(Output(choose("--also", output_format, MACHINE_FORMATS), file, "--also"))
    return outputs
