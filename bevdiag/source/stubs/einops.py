"""einops' rearrange, repeat and einsum, by views and permutations as einops itself does them."""

import re
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

_NAME = re.compile(r"[A-Za-z_]\w*")
_TOKEN = re.compile(r"\(|\)|\.\.\.|[A-Za-z_]\w*|1")


def rearrange(tensor: Any, pattern: str, **lengths: int) -> Tensor:
    """Axes by name: `rearrange(x, "b l d -> b d l")`; a list of tensors has one axis before.

    Raises:
        ValueError: an axis that is named on one side alone.
    """
    return _transformed(tensor, pattern, lengths)


def repeat(tensor: Any, pattern: str, **lengths: int) -> Tensor:
    """Rearrange axes, with some on the right alone, of given lengths, along which values repeat."""
    return _transformed(tensor, pattern, lengths)


def einsum(*operands: Any) -> Tensor:
    """Tensors, then a pattern with axes by name: `einsum(x, y, "b i, i o -> b o")`."""
    *tensors, pattern = operands
    names = dict.fromkeys(_NAME.findall(pattern))
    letters = {name: chr(ord("a") + place) for place, name in enumerate(names)}
    terms = _NAME.sub(lambda found: letters[found[0]], pattern).replace(" ", "")
    product: Tensor = torch.einsum(terms, *tensors)
    return product


def _transformed(given: Any, pattern: str, lengths: dict[str, int]) -> Tensor:
    tensor: Tensor = torch.stack(list(given)) if isinstance(given, (list, tuple)) else given
    left, right = (_groups(side) for side in pattern.split("->"))
    rest = tensor.dim() - sum(group != ["..."] for group in left)
    left, right = _spread(left, rest), _spread(right, rest)
    sizes: dict[str, int] = dict(lengths)
    flat: list[str] = []
    shape: list[int] = []
    for group, length in zip(left, tensor.shape, strict=True):
        known = prod(sizes.get(name, 1) for name in group)
        for name in group:
            sizes.setdefault(name, int(length) // known)
            flat.append(name)
            shape.append(sizes[name])
    tensor = tensor.reshape(shape)
    wanted = [name for group in right for name in group]
    new = [name for name in wanted if name not in flat]
    missing = [name for name in flat if name not in wanted and sizes[name] != 1]
    if missing or any(name not in sizes for name in new):
        raise ValueError(f"einops: axes {missing or new} of {pattern!r} are on one side alone")
    dropped = [axis for axis, name in enumerate(flat) if name not in wanted]
    for axis in reversed(dropped):
        tensor = tensor.squeeze(axis)
    kept = [name for name in flat if name in wanted]
    tensor = tensor.permute([kept.index(name) for name in wanted if name in kept])
    for place, name in enumerate(wanted):
        if name in new:
            tensor = tensor.unsqueeze(place)
    if new:
        tensor = tensor.expand([sizes[name] for name in wanted])
    return tensor.reshape([prod(sizes[name] for name in group) for group in right])


def _groups(side: str) -> list[list[str]]:
    groups: list[list[str]] = []
    inside: list[str] | None = None
    for token in _TOKEN.findall(side):
        if token == "(":
            inside = []
        elif token == ")":
            groups.append(inside or [])
            inside = None
        elif inside is not None:
            inside.append(token)
        else:
            groups.append([] if token == "1" else [token])
    return groups


def _spread(groups: list[list[str]], rest: int) -> list[list[str]]:
    """`...` as that many axes."""
    spread: list[list[str]] = []
    for group in groups:
        spread += [[f"...{i}"] for i in range(rest)] if group == ["..."] else [group]
    return spread


class Rearrange(nn.Module):
    """`einops.layers.torch.Rearrange`."""

    def __init__(self, pattern: str, **lengths: int) -> None:
        super().__init__()
        self._pattern, self._lengths = pattern, lengths

    def forward(self, tensor: Tensor) -> Tensor:
        """Rearrange the tensor."""
        return rearrange(tensor, self._pattern, **self._lengths)
