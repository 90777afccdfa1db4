"""What the repository would load: weights are refused and change no memory, data is read.

A file of data (a table, a curve) decides what the model is, so it is loaded if it is there, and
named if it is not. Nothing but tensors and plain containers is read from it.
"""

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils import model_zoo

from bevdiag.errors import NoVerdictError
from bevdiag.trace.places import user_place

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
            return _named(self, self.own, self.cut)
        return super().__getitem__(index)


def _named(name: str, own: frozenset[str], cut: set[int]) -> _Name:
    made = _Name(name)
    made.own, made.cut = own, cut
    return made


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
        super().__init__({_named(name, parts, cut): value for name, value in own.items()})
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
        raise NoVerdictError(
            f"{self._place}: the code computes with what it loads from {self._what} (`.{name}`), "
            "which is not there: put the file there, and it is read as data"
        )


def _outside(frame: FrameType | None) -> FrameType | None:
    """Find the first frame from here on that is not this module's."""
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame


def _loading(frame: FrameType | None) -> nn.Module | None:
    """Find the module that the code around a call fills: its own, or a larger one it has made."""
    held = [] if frame is None else list(frame.f_locals.values())
    modules = [value for value in held if isinstance(value, nn.Module)]
    return max(modules, key=lambda module: len(module.state_dict()), default=None)


_LOADERS: tuple[tuple[ModuleType, str], ...] = (
    (torch.hub, "load"),
    (torch.hub, "load_state_dict_from_url"),
    (torch.hub, "download_url_to_file"),
    (model_zoo, "load_url"),
)


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
        return NoWeights(what, place, _loading(_outside(caller)))

    read = partial(torch.load, map_location="cpu", weights_only=True)

    def load(f: Any, *_: Any, **__: Any) -> Any:
        found = _data(read, f)
        return instead(f) if found is None else found

    for module, name in _LOADERS:
        setattr(module, name, instead)
    torch.load = load
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


def _is_checkpoint(found: Any) -> bool:
    """Whether it looks like a model's: parameters by dotted names, or sections that hold them."""
    if not isinstance(found, Mapping):
        return False
    return any(key in found for key in _OF_CHECKPOINTS) or any(
        isinstance(key, str) and "." in key and isinstance(value, torch.Tensor)
        for key, value in found.items()
    )
