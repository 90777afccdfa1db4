"""The errors that a user can cause, each with the exit code it leads to.

Everything else that escapes is a defect of bevdiag, reported as such by the command line.
"""

import os
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path


class Verdict(str, Enum):
    """Whether the step fits the budget; `fits` is said of the upper end only."""

    FITS = "fits"
    OVER = "over"
    DEPENDS = "depends"
    UNKNOWN = "unknown"
    NO_BUDGET = "no budget"


class ExitCode(IntEnum):
    """What the process tells its caller."""

    FITS = 0
    FINDINGS = 1
    USAGE = 2
    NO_VERDICT = 3


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file; line and column count from 1."""

    file: Path
    line: int
    column: int

    def shown(self) -> "Location":
        """Return it with its file as seen from the working directory, if below that."""
        if not self.file.is_absolute():
            return self
        try:
            relative = Path(os.path.relpath(self.file))
        except FileNotFoundError:  # the working directory is gone
            return self
        if relative.parts[:1] == ("..",):
            return self
        return Location(relative, self.line, self.column)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class BevdiagError(Exception):
    """Something the user can fix; the message is one sentence that says how."""

    exit_code = ExitCode.USAGE


class ConfigError(BevdiagError):
    """A config that cannot be read or makes no sense.

    Args:
        message: what was found and what is expected, one sentence.
        location: where in which file, if it stands anywhere.
        key: dotted key path such as ``MODEL.VFE.NUM_FILTERS``.
    """

    def __init__(self, message: str, *, location: Location | None = None, key: str = "") -> None:
        self.location = location
        self.key = key
        where = ": ".join(part for part in (str(location or ""), key) if part)
        super().__init__(f"{where}: {message}" if where else message)


class InputError(BevdiagError):
    """A point file, an option or a name that cannot be used."""


class NoVerdictError(BevdiagError):
    """bevdiag cannot tell: something is not modelled, or the process that measured died."""

    exit_code = ExitCode.NO_VERDICT


class OutputError(NoVerdictError):
    """What was found out cannot be written: a full disk, a closed pipe, a limit."""


class RepositoryError(NoVerdictError):
    """The code of the user's own repository failed.

    Attributes:
        frames: the last lines of its traceback, outermost first.
        details: all of the traceback, that of libraries too.
    """

    frames: tuple[str, ...] = ()
    details: str = ""
