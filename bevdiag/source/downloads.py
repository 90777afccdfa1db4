"""What the repository would load: weights are refused and change no memory, data is read.

A file of data (a table, a curve) decides what the model is, so it is loaded if it is there, and
named if it is not. Nothing but tensors and plain containers is read from it.
"""

import ast
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.utils import model_zoo

from bevdiag.source.failures import Remedy, stopped
from bevdiag.trace.places import roots, user_place

_SAVES = re.compile(r"\b(?:save|savez|dump)\(")
_LEAST_WRITTEN = 8
"""Characters of a file's name that a program has to have for it to be that file's."""
_OF_CHECKPOINTS = ("model_state", "state_dict", "model", "optimizer", "optimizer_state")


class _Name(str):
    """The name of a parameter, which a checkpoint may hold behind a prefix of its own.

    Code that asks for such a prefix ("backbone.", "module.") and cuts it off, of this name or of
    all, finds it.

    Attributes:
        own: what the model's own parts are named like.
        cut: the lengths of the prefixes that were asked for, of all names of a checkpoint.
    """

    own: frozenset[str]
    cut: set[int]

    def __new__(cls, name: str, own: frozenset[str], cut: set[int]) -> "_Name":
        made = super().__new__(cls, name)
        made.own, made.cut = own, cut
        return made

    def startswith(self, prefix: Any, *span: Any) -> bool:
        """Also True for a prefix that none of the model's own parts is named like."""
        found = super().startswith(prefix, *span)
        if found or span or not isinstance(prefix, str) or not prefix.endswith("."):
            return found
        if prefix.partition(".")[0] in self.own:
            return False
        self.cut.add(len(prefix))
        return True

    def __getitem__(self, index: Any) -> str:
        if isinstance(index, slice) and index.start in self.cut and index.stop is None:
            return _Name(self, self.own, self.cut)
        return super().__getitem__(index)


class NoWeights(dict[str, Any]):
    """Stands for a checkpoint: it holds what the model has already.

    Whatever else is looked up in it (a section, a prefix) is the same again.

    Args:
        what: the file or address that was asked for.
        place: where.
        model: whose weights they would be; None where that is not known.
    """

    def __init__(
        self,
        what: str = "weights",
        place: str = "the repository",
        model: nn.Module | None = None,
    ) -> None:
        own = {} if model is None else model.state_dict()
        parts = frozenset(name.partition(".")[0] for name in own)
        cut: set[int] = set()
        super().__init__({_Name(name, parts, cut): value for name, value in own.items()})
        self._what, self._place = what, place

    def __missing__(self, key: str) -> Any:
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        return super().pop(key, self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise stopped(
            f"the code computes with what it loads from {self._what} (`.{name}`), which is not "
            f"there{made_by(Path(self._what).name)}",
            Remedy.DATA,
            self._place,
        )


def _loading(frame: FrameType | None) -> nn.Module | None:
    """Find the module that the code around a call fills: its own, or a larger one it has made."""
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    held = [] if frame is None else list(frame.f_locals.values())
    modules = [value for value in held if isinstance(value, nn.Module)]
    return max(modules, key=lambda module: len(module.state_dict()), default=None)


def _found_later(file: Path) -> None:
    """Code that has fetched a file finds it there, also when the model is built once more."""
    with suppress(OSError):
        file.touch()


def refuse(findings: list[str]) -> None:
    """Refuse weights from here on, and write down where."""

    def instead(*args: Any, **_: Any) -> NoWeights:
        caller = sys._getframe(1)
        place = user_place(caller)
        what = str(args[0]) if args else "weights"
        findings.append(
            f"{place}: weights ({what}) were neither downloaded nor loaded; the model keeps those "
            "it was made with, which changes no memory"
        )
        return NoWeights(what, place, _loading(caller))

    read = partial(torch.load, map_location="cpu", weights_only=True)

    def load(f: Any, *_: Any, **__: Any) -> Any:
        found = _data(read, f)
        return instead(f) if found is None else found

    def fetch(url: str, folder: Any = None, *_: Any, **others: Any) -> NoWeights:
        folder = folder or others.get("model_dir")
        if folder is not None:
            _found_later(Path(folder) / Path(url).name)
        return instead(url)

    def save(url: str, file: Any, *_: Any, **__: Any) -> None:
        instead(url)
        _found_later(Path(file))

    for module, name, refusal in (
        (torch.hub, "load", instead),
        (torch.hub, "load_state_dict_from_url", fetch),
        (model_zoo, "load_url", fetch),
        (torch.hub, "download_url_to_file", save),
        (torch, "load", load),
    ):
        setattr(module, name, refusal)
    plain = nn.Module.load_state_dict

    def load_state_dict(module: nn.Module, state: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(state, NoWeights):
            return None
        return plain(module, state, *args, **kwargs)

    nn.Module.load_state_dict = load_state_dict  # type: ignore[assignment,method-assign]


def _data(read: Any, file: Any) -> Any:
    """Read a file: None where it is not there, cannot be read safely, or holds weights."""
    if not isinstance(file, (str, os.PathLike)) or not Path(file).is_file():
        return None
    try:
        found = read(file)
    except Exception:
        return None
    return None if _is_checkpoint(found) else found


def made_by(name: str) -> str:
    """Return the line of a script of the repository that names and saves files like this one."""
    for root in roots():
        for file in sorted(root.rglob("*.py")):
            line = _line_that_saves(file, name)
            if line:
                return f" (a file that {file.relative_to(root)}:{line} makes)"
    return ""


def _line_that_saves(file: Path, name: str) -> int:
    """Where a program that saves files has a name like this one; 0 where it has none."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text) if _SAVES.search(text) else None
    except (OSError, SyntaxError, ValueError):
        return 0
    return next(
        (
            node.lineno
            for node in ast.walk(tree or ast.Module([], []))
            if isinstance(node, (ast.JoinedStr, ast.Constant)) and _names(node, name)
        ),
        0,
    )


def _names(node: ast.JoinedStr | ast.Constant, name: str) -> bool:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [getattr(part, "value", None) for part in parts]
    written = "".join(text if isinstance(text, str) else "\0" for text in texts).rpartition("/")[2]
    pattern = re.escape(written).replace(re.escape("\0"), r"\w+")
    return len(written) >= _LEAST_WRITTEN and bool(re.fullmatch(pattern, name))


def _is_checkpoint(found: Any) -> bool:
    """Whether it looks like a model's: parameters by dotted names, or sections that hold them."""
    if not isinstance(found, Mapping):
        return False
    return any(key in found for key in _OF_CHECKPOINTS) or any(
        isinstance(key, str) and "." in key and isinstance(value, torch.Tensor)
        for key, value in found.items()
    )
