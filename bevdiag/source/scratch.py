"""A folder that takes what the repository's code writes, wherever it means to write it.

The code runs inside a copy of its own folders that is made of links: what it reads by a relative
path is there, and a new file lands in the scratch folder. What it writes to, makes, moves or
removes elsewhere is diverted to a place of the same name below that folder, from which it is read
again; the file itself stays as it is. So the code goes on, and nothing is left behind.
"""

import builtins
import io
import os
import pathlib
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bevdiag.trace.places import user_place

MIRROR = "repository"
"""The folder of links, in the scratch folder."""

_DEVICES = ("/dev/", "/proc/")
_MAKING = ("mkdir", "mknod", "mkfifo")
_CHANGING = (
    "remove", "unlink", "rmdir", "truncate", "chmod", "chown", "lchown", "utime", "setxattr",
    "removexattr",
)  # fmt: skip
_MOVING = ("rename", "replace", "link", "symlink")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Scratch:
    """Diverts what a process writes from here on; these patches are never undone.

    Args:
        folder: an empty folder, which someone else removes.
        findings: gets a sentence for each place that wrote.
    """

    def __init__(self, folder: Path, findings: list[str]) -> None:
        self.folder = folder.resolve()
        self._diverted = self.folder / "diverted"
        self._mirror = self.folder / MIRROR
        self._findings = findings
        self._places: set[str] = set()

    def enter(self, root: Path, inner: Path) -> None:
        """Work in the counterpart of `inner`, a folder in the repository at `root`."""
        temporary = self.folder / "tmp"
        temporary.mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        # From the root to the working folder everything is linked, so that ../data is found too.
        steps = inner.relative_to(root).parts
        for depth in range(len(steps) + 1):
            original = root.joinpath(*steps[:depth])
            counterpart = self._mirror.joinpath(*steps[:depth])
            counterpart.mkdir()
            for entry in original.iterdir():
                if depth == len(steps) or entry.name != steps[depth]:
                    (counterpart / entry.name).symlink_to(entry)
        os.chdir(counterpart)
        self._divert()

    def owns(self, path: Any, dir_fd: int | None = None) -> bool:
        """Whether something may be written there: the scratch folder's, a device's, a pipe's."""
        if path is None or isinstance(path, int):
            return True
        real = _real(path, dir_fd)
        return real.startswith(_DEVICES) or Path(real).is_relative_to(self.folder)

    def for_writing(self, path: Any, *, kept: bool = False) -> Any:
        """Where a file is to be written instead; `kept`: with what is in it now."""
        if self.owns(path):
            if not isinstance(path, int) and Path(_real(path)).is_relative_to(self._mirror):
                self._note(path)
            return path
        target = self._counterpart(path)
        self._note(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if kept and not target.exists() and os.path.isfile(path):
            shutil.copyfile(path, target)
        return str(target)

    def for_reading(self, path: Any) -> Any:
        """Where the file is that the code would find had its writing not been diverted."""
        if isinstance(path, int) or not self._diverted.exists() or self.owns(path):
            return path
        target = self._counterpart(path)
        return str(target) if target.exists() else path

    # -- what is replaced ------------------------------------------------------------------------

    def _divert(self) -> None:
        plain = builtins.open

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if "x" in mode and not isinstance(file, int) and os.path.exists(file):
                raise FileExistsError(17, "File exists", file)
            writes = bool(set(mode) & set("wax+"))
            if writes:
                file = self.for_writing(file, kept="w" not in mode)
            else:
                file = self.for_reading(file)
            return plain(file, mode, *args, **kwargs)

        for module in list(sys.modules.values()):
            for name, member in list(getattr(module, "__dict__", {}).items()):
                if member is plain:
                    setattr(module, name, opened)
        io.open = builtins.open = opened
        save: Any = torch.save

        def saved(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
            # Its C++ writer opens the file itself.
            by_name = isinstance(f, (str, os.PathLike))
            save(obj, self.for_writing(f) if by_name else f, *args, **kwargs)

        torch.save = saved
        replaced: dict[str, Any] = {"open": partial(self._os_open, os.open)}
        for names, instead in (
            (_MAKING, self._make),
            (_CHANGING, self._change),
            (_MOVING, self._move),
        ):
            for name in names:
                if hasattr(os, name):
                    replaced[name] = partial(instead, getattr(os, name))
        for name, function in replaced.items():
            setattr(os, name, function)
        accessor = getattr(pathlib, "_NormalAccessor", None)
        if accessor is not None:  # Python 3.10 has its own references
            for name, function in {**replaced, "open": opened}.items():
                if hasattr(accessor, name):
                    setattr(accessor, name, staticmethod(function))

    def _os_open(
        self, plain: Any, path: Any, flags: int, *args: Any, dir_fd: int | None = None, **kw: Any
    ) -> Any:
        if dir_fd is None and flags & _WRITES:
            path = self.for_writing(path, kept=not flags & os.O_TRUNC)
        return plain(path, flags, *args, dir_fd=dir_fd, **kw)

    def _make(self, plain: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        if self.owns(path, kwargs.get("dir_fd")) or os.path.lexists(path):
            return plain(path, *args, **kwargs)  # which fails where it exists
        target = self.for_writing(path)
        # The code cannot see a folder that was diverted, and makes it again.
        return None if os.path.isdir(target) else plain(target, *args, **kwargs)

    def _change(self, plain: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        if self.owns(path, kwargs.get("dir_fd")) or kwargs.get("dir_fd") is not None:
            return plain(path, *args, **kwargs)
        target = self.for_reading(path)
        if target is not path or not os.path.lexists(path):
            return plain(target, *args, **kwargs)
        self._note(path)
        return None

    def _move(self, plain: Any, src: Any, dst: Any, **kwargs: Any) -> Any:
        target = self.for_writing(dst)
        source = self.for_reading(src)
        if plain.__name__ == "symlink" or self.owns(source):
            return plain(source, target, **kwargs)
        shutil.copyfile(source, target)
        return None

    # -- paths -----------------------------------------------------------------------------------

    def _counterpart(self, path: Any) -> Path:
        return self._diverted / _real(path).lstrip("/")

    def _note(self, path: Any) -> None:
        place = user_place(sys._getframe(1), "a package")
        if place not in self._places:
            self._places.add(place)
            self._findings.append(
                f"{place}: writes to {os.fsdecode(path)}, which was diverted to a folder that is "
                "removed again"
            )


def _real(path: Any, dir_fd: int | None = None) -> str:
    text = os.fsdecode(path)
    if isinstance(dir_fd, int) and dir_fd >= 0 and not text.startswith("/"):
        text = f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{text}"
    return (
        os.path.join(os.path.realpath(os.path.dirname(text) or "."), os.path.basename(text))
        if (os.path.islink(text) and not os.path.exists(text))
        else os.path.realpath(text)
    )
