"""Which modules and parameters the loss does not reach, and why."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from bevdiag.memory.lifetimes import ancestors
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.layer_shapes import first_tensor
from bevdiag.trace.wiring import DeadBranch, LayerRecord, Wiring, is_inside


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
