"""Who writes what into the batch dict, who reads it, and which modules the loss reaches.

OpenPCDet's modules are wired by the keys of one dict that they pass on: nothing but the order of
their calls decides which tensor a module reads.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bevdiag.trace.attribution import Attribution
from bevdiag.trace.layers import first_tensor

BEV_MAP_KEY = "spatial_features"
"""What every MAP_TO_BEV module of OpenPCDet calls the bird's-eye-view map."""
_POINT_KEYS = {"voxels": 0, "points": 1}
"""What OpenPCDet's loader calls points, and how many columns precede their features: the sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One value that was put under a key, until another took its place.

    Attributes:
        writer: module path; "" for the detector itself, None for what the loader put there.
        shape: of its first tensor (a sparse tensor's features [N, C]), None where it holds none.
        channels: C of that tensor, None where it has none: whole numbers are no features.
        declared: C as the writer announces it to the next module, None where it does not.
        carries_gradient: whether autograd follows it.
        computed_by: the module whose code made its features, "" where autograd does not know.
        readers: who looked it up under this key, module paths in the order of their first look.
        is_read: whether anyone did, under this key or another that holds the same object.
        replaced_by: who wrote the key next; None where the value stayed to the end.
    """

    key: str
    writer: str | None
    shape: tuple[int, ...] | None
    channels: int | None
    declared: int | None
    carries_gradient: bool
    computed_by: str
    readers: tuple[str, ...]
    is_read: bool
    replaced_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The joints of one step.

    Attributes:
        entries: in the order in which they were written.
        reached: the modules whose code took part in the loss in a way that autograd follows.
        unreached: the outermost modules that computed something differentiable of which nothing
            leads to the loss, and the keys that they lead to instead.
    """

    entries: tuple[Entry, ...]
    reached: frozenset[str]
    unreached: Mapping[str, tuple[str, ...]]

    def written_inside(self, module: str) -> tuple[Entry, ...]:
        """What the module or one inside it put into the batch."""
        return tuple(entry for entry in self.entries if is_inside(entry.writer, module))

    def read_inside(self, module: str) -> tuple[Entry, ...]:
        """What the module or one inside it took from the batch."""
        return tuple(
            entry
            for entry in self.entries
            if any(is_inside(reader, module) for reader in entry.readers)
        )

    def channels_into(self, module: str) -> int | None:
        """C of the features that a module takes from the batch, None where that is not one number.

        Features are what autograd follows; without those, what another module computed; without
        that, the loader's points, be they grouped or not.
        """
        taken = [e for e in self.read_inside(module) if not is_inside(e.writer, module)]
        computed = [e for e in taken if e.writer is not None]
        features = [e for e in computed if e.carries_gradient] or computed
        found = {e.channels for e in features if e.channels is not None}
        if not found:
            keys = {e.key: e.channels for e in taken if e.channels is not None}
            found = {keys[key] - extra for key, extra in _POINT_KEYS.items() if key in keys}
        return found.pop() if len(found) == 1 else None

    def bev_map(self) -> Entry | None:
        """The bird's-eye-view map as it was written last, None where no module makes one."""
        maps = [e for e in self.entries if e.key == BEV_MAP_KEY and e.writer is not None]
        return maps[-1] if maps else None

    def bev_sources(self) -> tuple[Entry, ...]:
        """The features that the map is made of: what its module reads that autograd follows."""
        bev_map = self.bev_map()
        if bev_map is None or bev_map.writer is None:
            return ()
        return tuple(
            entry
            for entry in self.read_inside(bev_map.writer)
            if entry.carries_gradient and entry is not bev_map
        )


def is_inside(path: str | None, module: str) -> bool:
    """Whether a module path is the module's or that of one inside it."""
    return path is not None and (path == module or path.startswith(f"{module}."))


def loss_reach(
    loss: torch.Tensor, batch: dict[str, Any], attribution: Attribution
) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
    """What `Wiring.reached` and `Wiring.unreached` say of one step.

    To be called between the forward and the backward pass; nothing of the graph is kept.

    Args:
        loss: what the backward pass will start from.
        batch: the batch dict at the end of the forward pass.
        attribution: tells whose code made an autograd node.
    """
    reached = _modules_behind(loss, attribution)
    made = {outer for path in attribution.modules_with_nodes() for outer in _around(path)}
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
    return frozenset(reached), unreached


def _modules_behind(tensor: torch.Tensor, attribution: Attribution) -> set[str]:
    """The modules whose code took part in a tensor, and all around them."""
    paths = {attribution.module_of(node) for node in _nodes_behind(tensor)}
    return {outer for path in paths for outer in _around(path)}


def _nodes_behind(tensor: torch.Tensor) -> Iterator[Any]:
    stack, seen = [tensor.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        stack.extend(following for following, _ in node.next_functions)


def _around(path: str) -> Iterator[str]:
    """The path and those of all modules around it but the detector."""
    while path:
        yield path
        path = path.rpartition(".")[0]
