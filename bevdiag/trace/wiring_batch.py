"""The batch dict of a traced step: who writes and reads its keys, what its loss does not reach."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from bevdiag.memory.events import ancestors
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.layer_shapes import channels_of, first_tensor
from bevdiag.trace.wiring import BatchEntry, DeadBranch, LayerRecord, Wiring, is_inside

_DECLARATIONS = ("num_bev_features", "num_point_features")
"""What OpenPCDet's modules tell the next one when they are built: of a map, of anything else."""


class WatchedBatch(dict[str, Any]):
    """The batch dict of one step, which notes each write and read with the module that runs.

    It is a dict in every other way. Whatever goes over all values counts as reading them all.
    """

    watch: "BatchWatch | None" = None

    def _look(self, keys: Iterable[str]) -> None:
        if self.watch is not None:
            self.watch.read(keys)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if self.watch is not None:
            self.watch.wrote(self, key, value)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value; `default` where there is none, which is then put there."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Write every item of a mapping."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value


def _reading(name: str) -> Callable[..., Any]:
    """Return dict's method of that name, which also notes the key it is given, or all keys."""
    plain = getattr(dict, name)

    def method(self: WatchedBatch, *args: Any) -> Any:
        self._look(args[:1] or self)
        return plain(self, *args)

    return method


for _name in ("__getitem__", "get", "pop", "values", "items"):
    setattr(WatchedBatch, _name, _reading(_name))


@dataclass(slots=True)
class _Written:
    """A entry, and what becomes of it; `value_readers` read the object under any key."""

    entry: BatchEntry
    readers: dict[str, None]
    value_readers: dict[str, None]
    replaced_by: str | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What a step's loss leads back to.

    Attributes:
        reached: the modules whose code took part in the loss in a way that autograd follows.
        unreached: the outermost modules that computed something differentiable of which nothing
            leads to the loss, and the keys that they lead to instead.
    """

    reached: frozenset[str] = frozenset()
    unreached: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class BatchWatch:
    """The record of one batch dict. It keeps shapes and names, no tensor alive.

    Args:
        model: whose modules announce their channels.
        attribution: tells the module that runs.
    """

    def __init__(self, model: nn.Module, attribution: Attribution) -> None:
        self._modules = dict(model.named_modules())
        self._attribution = attribution
        self._written: list[_Written] = []
        self._current: dict[str, _Written] = {}
        self._last_features: BatchEntry | None = None
        self.reach = Reach()

    def begin(self, batch: WatchedBatch) -> None:
        """Forget what was, and watch this batch from here on; what it holds is the loader's."""
        self._written, self._current, self._last_features = [], {}, None
        for key, value in batch.items():
            self._add(batch, key, value, None)
        batch.watch = self

    def wrote(self, batch: WatchedBatch, key: str, value: Any) -> None:
        """Note that a value was put under a key."""
        before = self._current.get(key)
        writer = self._attribution.forward_path
        if before is not None:
            before.replaced_by = writer
        self._add(batch, key, value, writer)

    def read(self, keys: Iterable[str]) -> None:
        """Note that the values under these keys were looked at."""
        reader = self._attribution.forward_path
        for key in keys:
            written = self._current.get(key)
            if written is None:
                continue
            written.readers.setdefault(reader)
            written.value_readers.setdefault(reader)
            if written.entry.carries_gradient and written.entry.channels is not None:
                self._last_features = written.entry

    def last_features(self) -> str:
        """Name the features that were read last, in a clause for a failure; empty without any."""
        read = self._last_features
        if read is None:
            return ""
        declared = (
            "" if read.declared in (None, read.channels) else f", which declares {read.declared}"
        )
        return (
            f"the features read last are {read.key}, {read.channels} channels, of "
            f"{read.written_by or 'the detector'}{declared}"
        )

    def end(self, batch: WatchedBatch, loss: torch.Tensor) -> None:
        """End the forward pass, its graph still whole."""
        self.reach = reach_of(loss, batch, self._attribution)

    def wiring(self) -> Wiring:
        """Return what was noted."""
        return Wiring.of(
            tuple(
                replace(
                    written.entry,
                    read_by=tuple(written.readers),
                    is_read=bool(written.value_readers),
                    replaced_by=written.replaced_by,
                )
                for written in self._written
            )
        )

    def _add(self, batch: WatchedBatch, key: str, value: Any, writer: str | None) -> None:
        tensor = first_tensor([*value.values()] if isinstance(value, dict) else value)
        # The same object under two keys is one value: who reads it under one has read it.
        value_readers = next(
            (
                self._current[other].value_readers
                for other, held in dict.items(batch)
                if held is value and other != key and tensor is not None and other in self._current
            ),
            {},
        )
        node = None if tensor is None else tensor.grad_fn
        entry = BatchEntry(
            key=key,
            written_by=writer,
            computed_by="" if node is None else self._attribution.module_of(node),
            shape=None if tensor is None else tuple(tensor.shape),
            channels=_channels(tensor),
            declared=None if isinstance(value, dict) else self._declared(writer, tensor),
            carries_gradient=tensor is not None and tensor.requires_grad,
        )
        written = _Written(entry, {}, value_readers)
        self._written.append(written)
        self._current[key] = written

    def _declared(self, writer: str | None, tensor: torch.Tensor | None) -> int | None:
        if tensor is None or writer is None or tensor.dim() < 2 or not tensor.requires_grad:
            return None
        name = _DECLARATIONS[0] if tensor.dim() == 4 else _DECLARATIONS[1]
        value = getattr(self._modules.get(writer), name, None)
        return value if isinstance(value, int) else None


def _channels(tensor: torch.Tensor | None) -> int | None:
    if tensor is None or not tensor.is_floating_point():
        return None
    return channels_of(tuple(tensor.shape))


# -- what the loss does not reach ------------------------------------------------------------------


def reach_of(loss: torch.Tensor, batch: dict[str, Any], attribution: Attribution) -> Reach:
    """Find what a step's loss leads back to.

    To be called between the forward and the backward pass; nothing of the graph is kept.

    Args:
        loss: what the backward pass will start from.
        batch: the batch dict at the end of the forward pass.
        attribution: tells whose code made an autograd node.
    """
    reached = _modules_behind(loss, attribution)
    made = {outer for path in attribution.modules_with_nodes() for outer in ancestors(path)}
    dead = made - reached
    outermost = sorted(p for p in dead if not any(q != p and is_inside(p, q) for q in dead))
    tensors = {key: first_tensor(value) for key, value in dict.items(batch)} if dead else {}
    behind = {
        key: _modules_behind(tensor, attribution)
        for key, tensor in tensors.items()
        if tensor is not None and tensor.requires_grad
    }
    unreached = {
        module: tuple(key for key, modules in behind.items() if module in modules)
        for module in outermost
    }
    return Reach(frozenset(reached), unreached)


def dead_branches(
    wiring: Wiring,
    reach: Reach,
    layers: Sequence[LayerRecord],
    without_grad: Mapping[str, int],
    ran: Iterable[str],
) -> tuple[DeadBranch, ...]:
    """Find the outermost modules that the loss does not reach, and lone parameters beside them.

    Args:
        wiring: who read and wrote the batch.
        reach: what the loss leads back to.
        layers: all modules.
        without_grad: the parameters that get no gradient, and how many numbers each has.
        ran: the modules that ran.
    """
    params = {layer.name: layer.params for layer in layers}

    def lacking(path: str) -> int:
        return sum(count for name, count in without_grad.items() if is_inside(name, path))

    # What a reentrant checkpoint holds in a closure is reached in the backward pass alone: where
    # parameters tell, they have the last word.
    silent = {path for path in reach.unreached if not params[path] or lacking(path)}
    paths = sorted(_without_gradient(params, without_grad, reach) | silent)
    outermost = [p for p in paths if not any(is_inside(p, q) for q in paths if q != p)]
    return tuple(
        DeadBranch(
            path=path,
            params=lacking(path),
            leads_to=reach.unreached.get(path, ()),
            reason="the step's loss does not depend on it"
            if path in without_grad
            else _reason(wiring, reach, path)
            if path in ran
            else "it never runs in training",
        )
        for path in outermost
    )


def _without_gradient(
    params: Mapping[str, int], without_grad: Mapping[str, int], reach: Reach
) -> set[str]:
    """Find modules all of whose parameters lack a gradient; parameters where siblings have one."""
    missing: dict[str, int] = defaultdict(int)
    for parameter, count in without_grad.items():
        for path in ancestors(parameter.rpartition(".")[0]):
            missing[path] += count
    wholly = {p for p, n in missing.items() if n == params.get(p) and p not in reach.reached}
    lone = {p for p in without_grad if not any(is_inside(p, m) for m in wholly)}
    return wholly | lone


def _reason(wiring: Wiring, reach: Reach, path: str) -> str:
    unread = [j for j in wiring.written_inside(path) if j.carries_gradient and not j.is_read]
    if unread:
        return f"nothing reads {_listed(j.key for j in unread)} after it{_read_instead(wiring)}"
    leads_to = reach.unreached.get(path)
    if leads_to is None:
        return "what it computes is cut off from the loss"
    ends = [j for j in wiring.entries if j.key in leads_to and j.replaced_by is None]
    if ends and not any(entry.is_read for entry in ends):
        return f"it only leads to {_listed(leads_to)}, which nothing reads"
    return "what it computes reaches the loss through nothing that passes a gradient"


def _read_instead(wiring: Wiring) -> str:
    if wiring.bev_map is None or not wiring.bev_sources:
        return ""
    read = _listed(f"{j.key} of {j.written_by or 'the detector'}" for j in wiring.bev_sources)
    return f"; {wiring.bev_map.written_by} makes the BEV map of {read}"


def _listed(names: Iterable[str]) -> str:
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} and {last}" if others else last


def _modules_behind(tensor: torch.Tensor, attribution: Attribution) -> set[str]:
    """Find the modules whose code took part in a tensor, and all around them."""
    paths = {attribution.module_of(node) for node in _nodes_behind(tensor)}
    return {outer for path in paths for outer in ancestors(path)}


def _nodes_behind(tensor: torch.Tensor) -> Iterator[Any]:
    stack, seen = [tensor.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        stack.extend(following for following, _ in node.next_functions)
