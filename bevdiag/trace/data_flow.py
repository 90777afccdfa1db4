"""From the record of a traced step to what its wiring means."""

from collections import defaultdict
from collections.abc import Iterable

from bevdiag.trace.joints import DeadBranch, Joint, WiringReport
from bevdiag.trace.step import Trace
from bevdiag.trace.wiring import Entry, Wiring, is_inside


def wiring_of(trace: Trace) -> WiringReport:
    """The joints of the last step, and what the loss does not reach."""
    joints = {id(entry): _joint(entry) for entry in trace.wiring.entries}
    bev_map = trace.wiring.bev_map()
    return WiringReport(
        joints=tuple(joints.values()),
        bev_map=None if bev_map is None else joints[id(bev_map)],
        bev_sources=tuple(joints[id(entry)] for entry in trace.wiring.bev_sources()),
        dead_branches=dead_branches(trace),
    )


def _joint(entry: Entry) -> Joint:
    return Joint(
        key=entry.key,
        written_by=entry.writer,
        computed_by=entry.computed_by,
        shape=entry.shape,
        channels=entry.channels,
        declared=entry.declared,
        read_by=entry.readers,
        is_read=entry.is_read,
        replaced_by=entry.replaced_by,
    )


def dead_branches(trace: Trace) -> tuple[DeadBranch, ...]:
    """The outermost modules that the loss does not reach, and lone parameters beside them."""
    lacking = _without_gradient(trace)
    unreached = trace.wiring.unreached
    # What a reentrant checkpoint holds in a closure is reached in the backward pass alone: where
    # parameters tell, they have the last word.
    layers = {layer.name: layer for layer in trace.layers}
    silent = {p for p in unreached if not layers[p].params or _params_inside(trace, p)}
    paths = sorted(lacking | silent)
    return tuple(
        DeadBranch(
            path=path,
            params=_params_inside(trace, path),
            leads_to=unreached.get(path, ()),
            reason=_reason(trace, path),
        )
        for path in paths
        if not any(is_inside(path, other) for other in paths if other != path)
    )


def _without_gradient(trace: Trace) -> set[str]:
    """The modules all of whose parameters lack a gradient; parameters where siblings have one."""
    totals = {layer.name: layer.params for layer in trace.layers}
    missing: dict[str, int] = defaultdict(int)
    for parameter, count in trace.params_without_grad.items():
        for path in _around(parameter):
            missing[path] += count
    reached = trace.wiring.reached
    wholly = {p for p, count in missing.items() if count == totals.get(p) and p not in reached}
    lone = {p for p in trace.params_without_grad if not any(is_inside(p, m) for m in wholly)}
    return wholly | lone


def _params_inside(trace: Trace, path: str) -> int:
    return sum(n for name, n in trace.params_without_grad.items() if is_inside(name, path))


def _around(parameter: str) -> list[str]:
    parts = parameter.split(".")[:-1]
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _reason(trace: Trace, path: str) -> str:
    wiring = trace.wiring
    if path in trace.params_without_grad:
        return "the step's loss does not depend on it"
    if path not in trace.departures:
        return "it never runs in training"
    unread = [e for e in wiring.written_inside(path) if e.carries_gradient and not e.is_read]
    if unread:
        return f"nothing reads {_listed(e.key for e in unread)} after it{_read_instead(wiring)}"
    leads_to = wiring.unreached.get(path)
    if leads_to is None:
        return "what it computes is cut off from the loss"
    ends = [e for e in wiring.entries if e.key in leads_to and e.replaced_by is None]
    if ends and not any(entry.is_read for entry in ends):
        return f"it only leads to {_listed(leads_to)}, which nothing reads"
    return "what it computes reaches the loss through nothing that passes a gradient"


def _read_instead(wiring: Wiring) -> str:
    bev_map = wiring.bev_map()
    sources = wiring.bev_sources()
    if bev_map is None or not sources:
        return ""
    read = _listed(f"{e.key} of {e.writer or 'the detector'}" for e in sources)
    return f"; {bev_map.writer} makes the BEV map of {read}"


def _listed(names: Iterable[str]) -> str:
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} and {last}" if others else last
