"""Where in the user's code something happens.

A repository's places are those in its folder. Of a model that came as a module they are those of
everybody's code but PyTorch's and bevdiag's own.
"""

import sys
import sysconfig
from pathlib import Path
from types import FrameType

import torch

_roots: list[Path] = []
_PACKAGE = str(Path(__file__).resolve().parents[1]) + "/"
_LIBRARIES = (str(Path(torch.__file__).resolve().parent) + "/", _PACKAGE)
_STEPS = tuple(f"{_PACKAGE}trace/{name}.py" for name in ("step", "real_run"))
"""What calls the model; whoever calls them is not part of it."""


def set_root(*roots: Path) -> None:
    """From here on, places are those in this folder, or in another name for it; none: anywhere."""
    _roots[:] = [root.resolve() for root in roots]


def roots() -> tuple[Path, ...]:
    """Return the folders that were set."""
    return tuple(_roots)


def user_place(frame: FrameType | None = None, otherwise: str = "") -> str:
    """`file:line` of the innermost frame of the user's code, or what is to be said otherwise."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not _roots and name in _STEPS:
            break
        file = relative_file(name) if _roots else _file_of_others(name)
        if file is not None:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return otherwise or ("the repository" if _roots else "the model")


def relative_file(name: str) -> str | None:
    """Return a source file's path inside the repository, None for the code of others."""
    file = Path(name)
    found = (file.relative_to(root) for root in _roots if file.is_relative_to(root))
    return next(map(str, found), None)


def _file_of_others(name: str) -> str | None:
    """Return a source file's path below the working folder or where packages are installed."""
    if name.startswith((*_LIBRARIES, "<frozen")):
        return None
    file = Path(name)
    for root in (Path(sysconfig.get_path("purelib")), Path.cwd()):
        if file.is_relative_to(root):
            return str(file.relative_to(root))
    return name
