"""Weights that the repository would download or read: refused, and they change no memory."""

import sys
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils import model_zoo

from bevdiag.trace.places import user_place


class NoWeights(dict[str, Any]):
    """Stands for a checkpoint; whatever is looked up in it is the same again."""

    def __getitem__(self, key: str) -> Any:
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return self

    def pop(self, key: str, *default: Any) -> Any:
        return self


_LOADERS: tuple[tuple[ModuleType, str], ...] = (
    (torch, "load"),
    (torch.hub, "load"),
    (torch.hub, "load_state_dict_from_url"),
    (torch.hub, "download_url_to_file"),
    (model_zoo, "load_url"),
)


def refuse(findings: list[str]) -> None:
    """Refuse from here on, and write down where."""

    def instead(*args: Any, **_: Any) -> NoWeights:
        what = args[0] if args else "weights"
        findings.append(
            f"{user_place(sys._getframe(1))}: weights ({what}) were neither downloaded nor loaded; "
            "the model keeps those it was made with, which changes no memory"
        )
        return NoWeights()

    for module, name in _LOADERS:
        setattr(module, name, instead)
    plain = nn.Module.load_state_dict

    def load_state_dict(module: nn.Module, state: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(state, NoWeights):
            return None
        return plain(module, state, *args, **kwargs)

    nn.Module.load_state_dict = load_state_dict  # type: ignore[assignment,method-assign]
