"""What a process needs before any work: three standard streams, a folder, descriptors and memory.

A stream that the caller has closed is replaced by one that leads nowhere: its number would else go
to the next file that is opened, which prints would then end up in.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TextIO

from bevdiag.errors import NoVerdictError

LEAST_FILES = 48
"""Descriptors: imports, a pipe and a process for every core, the files of a report."""
SPARE_BYTES = 2**29
"""Addresses for a small trace, beside what torch's libraries take when they are loaded."""


def replace_missing_streams() -> None:
    """Give stdin, stdout and stderr something to be, where they are closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _opened(number))


def _opened(number: int) -> TextIO:
    # It is the process's own and stays open to its end.
    return open(number, "w" if number else "r", encoding="utf-8", closefd=False)


def check_limits() -> None:
    """Look at what the shell allows, while a sentence about it can still be said.

    Raises:
        NoVerdictError: there is no working directory, or too few files may be open.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise NoVerdictError(
            "the working directory is gone: change to one that exists and start again"
        ) from error
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = LEAST_FILES if hard == resource.RLIM_INFINITY else min(LEAST_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        if wanted < LEAST_FILES:
            raise NoVerdictError(
                f"this process may open {hard} files at once and needs {LEAST_FILES}: raise the "
                "limit (ulimit -n)"
            )
        if not any(isinstance(finder, _BeforeTorch) for finder in sys.meta_path):
            sys.meta_path.insert(0, _BeforeTorch())


class _BeforeTorch(MetaPathFinder):
    """Finds nothing: looks at the limit of addresses when torch is about to be imported.

    The libraries that torch brings do not fail beyond it, they end the process, with exit codes
    and words of their own.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "torch":
            check_addresses()


def check_addresses() -> None:
    """Look whether torch can be imported within the limit of addresses.

    Raises:
        NoVerdictError: it cannot.
    """
    if sys.platform == "win32":
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    needed = _mapped_bytes() + _torch_bytes() + SPARE_BYTES
    if limit < needed:
        raise NoVerdictError(
            f"this process may map {limit >> 20} MiB of memory and needs {needed >> 20} MiB: raise "
            "the limit (ulimit -v)"
        )
    # Every further thread takes addresses for its stack and heap, and OpenMP ends the process
    # where it gets none.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _mapped_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _torch_bytes() -> int:
    """Return what the libraries of the torch that is about to be imported take."""
    found = PathFinder.find_spec("torch")
    folders = (found.submodule_search_locations if found else None) or ()
    libraries = (file for folder in folders for file in (Path(folder) / "lib").glob("*.so*"))
    return sum(file.stat().st_size for file in libraries)
