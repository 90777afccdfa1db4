"""Small packages that a repository needs to run, where they are not installed."""

import re
from collections.abc import Iterable
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.source.cuda_api import as_it_is
from bevdiag.source.stubs.compiled import Array, Ints
from bevdiag.source.stubs.inert import package
from bevdiag.source.stubs.kernels import (
    causal_conv1d_fn,
    chamfer_distance,
    unpadded_kvpacked,
)
from bevdiag.source.stubs.unknown_ops import TritonKernel


class EasyDict(dict[str, Any]):
    """A dict whose keys are attributes too; mappings inside become the same, also in lists."""

    def __init__(self, source: Any = None, **kwargs: Any) -> None:
        super().__init__()
        self.update(source or {}, **kwargs)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, self._attributed(value))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    __setattr__ = __setitem__

    def __delattr__(self, name: str) -> None:
        del self[name]

    def update(self, *sources: Any, **kwargs: Any) -> None:
        for key, value in dict(*sources, **kwargs).items():
            self[key] = value

    def __reduce__(self) -> Any:
        return EasyDict, (dict(self),)

    @classmethod
    def _attributed(cls, value: Any) -> Any:
        if isinstance(value, dict) and not isinstance(value, EasyDict):
            return cls(value)
        if isinstance(value, (list, tuple)):
            return type(value)(cls._attributed(item) for item in value)
        return value


class GrowingDict(EasyDict):
    """The same, but what is not there is an empty one, entered once something is put into it."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        around, name = self.__dict__.pop("_place", (None, ""))
        if around is not None:
            around[name] = self

    __setattr__ = __setitem__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __reduce__(self) -> Any:
        return type(self), (dict(self),)

    def __missing__(self, name: str) -> Any:
        made = type(self)()
        made.__dict__["_place"] = (self, name)
        return made


def _kernel(function: Any = None, **_: Any) -> Any:
    """Return a Triton kernel, which fills the tensors that it is given."""
    if function is None:
        return _kernel
    return function if isinstance(function, TritonKernel) else TritonKernel(function)


def _pair(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value, value)


_AXIS = re.compile(r"[A-Za-z_]\w*")
_AXES = re.compile(r"\(|\)|\.\.\.|[A-Za-z_]\w*|1")


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
    names = dict.fromkeys(_AXIS.findall(pattern))
    letters = {name: chr(ord("a") + place) for place, name in enumerate(names)}
    terms = _AXIS.sub(lambda found: letters[found[0]], pattern).replace(" ", "")
    product: Tensor = torch.einsum(terms, *tensors)
    return product


def _transformed(given: Any, pattern: str, lengths: dict[str, int]) -> Tensor:
    tensor: Tensor = torch.stack(list(given)) if isinstance(given, (list, tuple)) else given
    left, right = (_axes_of(side) for side in pattern.split("->"))
    rest = tensor.dim() - sum(group != ["..."] for group in left)
    left, right = _spread(left, rest), _spread(right, rest)
    sizes = dict(lengths)
    for group, length in zip(left, tensor.shape, strict=True):
        known = prod(sizes.get(name, 1) for name in group)
        sizes.update((name, int(length) // known) for name in group if name not in sizes)
    flat, wanted = ([name for group in side for name in group] for side in (left, right))
    new = [name for name in wanted if name not in flat]
    dropped = [name for name in flat if name not in wanted]
    alone = [name for name in dropped if sizes[name] != 1] or [n for n in new if n not in sizes]
    if alone:
        raise ValueError(f"einops: axes {alone} of {pattern!r} are on one side alone")
    # Each side has the other's axes too, with one place.
    tensor = tensor.reshape([*map(sizes.__getitem__, flat), *[1] * len(new)])
    tensor = tensor.permute([[*flat, *new].index(name) for name in (*wanted, *dropped)])
    if new:
        tensor = tensor.expand([sizes[name] for name in (*wanted, *dropped)])
    return tensor.reshape([prod(sizes[name] for name in group) for group in right])


def _axes_of(side: str) -> list[list[str]]:
    groups: list[list[str]] = []
    inside: list[str] | None = None
    for token in _AXES.findall(side):
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


class DropPath(nn.Module):
    """timm's stochastic depth: whole samples of a residual branch are zeroed."""

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__()
        self.drop_prob, self.scale_by_keep = drop_prob, scale_by_keep

    def forward(self, x: Tensor) -> Tensor:
        """X, some samples of it zero in training."""
        if not self.drop_prob or not self.training:
            return x
        keep = 1 - self.drop_prob
        mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * (mask.div_(keep) if self.scale_by_keep else mask)


def linear_sum_assignment(cost_matrix: Any, maximize: bool = False) -> tuple[Ints, Ints]:
    """`scipy.optimize.linear_sum_assignment`: rows in order [K] and the column of each [K].

    By shortest augmenting paths, which SciPy follows as well: D. F. Crouse, "On implementing 2D
    rectangular assignment algorithms" (2016).

    Args:
        cost_matrix: [N, M]; K is the smaller of both. Infinite where a pair is ruled out.
        maximize: whether the sum is to be as large as possible.

    Raises:
        ValueError: no matrix of numbers, or none of its assignments is allowed.
    """
    cost = np.asarray(cost_matrix, dtype=np.float64)
    if cost.ndim != 2:
        raise ValueError(f"expected a matrix (2-D array), got a {cost.ndim} array")
    cost = -cost if maximize else cost
    if np.isnan(cost).any() or (cost == -np.inf).any():
        raise ValueError("matrix contains invalid numeric entries")
    if cost.shape[0] > cost.shape[1]:
        columns, rows = _assigned(cost.T)
        order = rows.argsort()
        return rows[order], columns[order]
    return _assigned(cost)


def _assigned(cost: Array) -> tuple[Ints, Ints]:
    """For no more rows than columns. Column 0 is a place to start from; all others are one up."""
    num_rows, num_columns = cost.shape
    of_rows, of_columns = np.zeros(num_rows + 1), np.zeros(num_columns + 1)
    row_at = np.zeros(num_columns + 1, dtype=np.int64)
    came_from = np.zeros(num_columns + 1, dtype=np.int64)
    for row in range(1, num_rows + 1):
        row_at[0], column = row, 0
        shortest = np.full(num_columns + 1, np.inf)
        visited = np.zeros(num_columns + 1, dtype=bool)
        while row_at[column] or column == 0:
            visited[column] = True
            last = row_at[column]
            reduced = np.append(np.inf, cost[last - 1] - of_rows[last] - of_columns[1:])
            better = ~visited & (reduced < shortest)
            shortest[better], came_from[better] = reduced[better], column
            column = int(np.where(visited, np.inf, shortest).argmin())
            step = shortest[column]
            if visited[column] or not np.isfinite(step):
                raise ValueError("cost matrix is infeasible")
            of_rows[row_at[visited]] += step
            of_columns[visited] -= step
            shortest[~visited] -= step
        while column:
            row_at[column] = row_at[came_from[column]]
            column = int(came_from[column])
    places = np.flatnonzero(row_at[1:])
    order = row_at[1:][places].argsort()
    return row_at[1:][places][order] - 1, places[order]


def _progress(iterable: Iterable[Any] = (), *_: Any, **__: Any) -> Iterable[Any]:
    return iterable


_TIMM = {"DropPath": DropPath, "trunc_normal_": nn.init.trunc_normal_, "to_2tuple": _pair}
"""The layers that most code takes from it."""
_MEMBERS: dict[str, dict[str, Any]] = {
    "addict": {"Dict": GrowingDict},
    "causal_conv1d": {"causal_conv1d_fn": causal_conv1d_fn},
    "easydict": {"EasyDict": EasyDict},
    "einops": {"rearrange": rearrange, "repeat": repeat, "einsum": einsum},
    "einops.layers": {},
    "einops.layers.torch": {"Rearrange": Rearrange},
    "flash_attn": {},
    "flash_attn.bert_padding": {},
    "flash_attn.flash_attn_interface": {"flash_attn_unpadded_kvpacked_func": unpadded_kvpacked},
    "numba": {"jit": as_it_is, "njit": as_it_is, "prange": range},
    "numba.cuda": {"jit": as_it_is},
    "pytorch3d": {},
    "pytorch3d.loss": {"chamfer_distance": chamfer_distance},
    "scipy": {},
    "scipy.optimize": {"linear_sum_assignment": linear_sum_assignment},
    "six": {
        **{"string_types": (str,), "integer_types": (int,), "class_types": (type,)},
        **{"text_type": str, "binary_type": bytes, "PY2": False, "PY3": True},
        "iteritems": lambda mapping: iter(mapping.items()),
        "itervalues": lambda mapping: iter(mapping.values()),
    },
    "six.moves": {"map": map, "range": range, "xrange": range, "zip": zip},
    "timm": {},
    "timm.layers": _TIMM,
    "timm.models": {},
    "timm.models.layers": _TIMM,
    "tqdm": {"tqdm": _progress, "trange": range},
    "triton": {
        "jit": _kernel,
        "autotune": lambda *_, **__: _kernel,
        "heuristics": lambda *_, **__: _kernel,
        "cdiv": lambda a, b: -(-a // b),
        "next_power_of_2": lambda n: 1 << max(n - 1, 0).bit_length(),
    },
    "triton.language": {"constexpr": int},
}
PACKAGES = frozenset(name for name in _MEMBERS if "." not in name)


def modules_of(name: str) -> dict[str, ModuleType]:
    """Return the modules by name of a package that is not installed; all else in it is inert."""
    return package({full: _MEMBERS[full] for full in _MEMBERS if full.partition(".")[0] == name})
