"""The recorded scenarios of one step, simulated on a target and judged: made in one place."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bevdiag.memory.allocator import LARGEST_REMAINDER_BYTES, SMALL_REQUEST_BYTES, block_bytes
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc
from bevdiag.memory.profile import LiveBlock, MemoryProfile, oom_message
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import GpuFit, Verdict, fit_on_gpus, judge
from bevdiag.memory.workspaces import Bound
from bevdiag.prediction.result import Holder, OutOfMemory, Peak
from bevdiag.scenes.scenario import Scenario
from bevdiag.trace.step import Trace

_TOP_HOLDERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the traces of a step come to on one target.

    Attributes:
        trace: the step with the expected counts; `low_trace` and `high_trace` are those at the
            ends, the same where nothing depends on values.
        expected: its memory without a limit; `high` that of the upper end.
        verdict: whether the target holds it.
    """

    target: DeviceTarget
    trace: Trace
    low_trace: Trace
    high_trace: Trace
    expected: MemoryProfile
    high: MemoryProfile
    verdict: Verdict

    @property
    def high_bytes(self) -> int:
        """The upper end of the peak, which is what must fit."""
        return _upper_end_bytes(self.expected, self.high)

    @property
    def low_bytes(self) -> int:
        """The lower end of the peak."""
        return _lower_end_bytes(self.expected, self.low)

    @property
    def low(self) -> MemoryProfile:
        """The memory at the lower end."""
        return simulate(self.low_trace.stream, self.target, until_oom=False, bound=Bound.LOW)

    def peak(self) -> Peak:
        """Return the peak between its ends."""
        return peak_of(self.expected, self.low, self.high)

    def oom(self) -> OutOfMemory | None:
        """Where the step stops, at the upper end if not with the expected counts."""
        stop = oom_of(self.trace, self.target)
        return stop or oom_of(self.high_trace, self.target, Bound.HIGH)

    def gpus(self) -> tuple[GpuFit, ...]:
        """Return the same step on every GPU of the catalogue."""
        return fit_on_gpus(
            self.target,
            self.trace.stream,
            self.high_trace.stream,
            unsplit_bytes=_unsplit_bytes(self.high),
        )


def judged(traces: Mapping[Scenario, Trace], target: DeviceTarget) -> Judged:
    """Simulate and judge.

    Args:
        traces: the expected one, and those at the ends where they differ from it.
        target: the GPU and versions to judge by.
    """
    trace = traces[Scenario.EXPECTED]
    high_trace = traces.get(Scenario.HIGH, trace)
    expected = simulate(trace.stream, target, until_oom=False)
    high = simulate(high_trace.stream, target, until_oom=False, bound=Bound.HIGH)
    return Judged(
        target=target,
        trace=trace,
        low_trace=traces.get(Scenario.LOW, trace),
        high_trace=high_trace,
        expected=expected,
        high=high,
        verdict=judge(target, trace.stream, high_trace.stream, unsplit_bytes=_unsplit_bytes(high)),
    )


def oom_of(trace: Trace, target: DeviceTarget, bound: Bound = Bound.EXPECTED) -> OutOfMemory | None:
    """Where the step stops within the capacity; None if it ends."""
    if target.capacity_bytes is None:
        return None
    refusal = simulate(trace.stream, target, bound=bound).refusal
    if refusal is None:
        return None
    return OutOfMemory(
        requested_bytes=refusal.requested_bytes,
        module=refusal.alloc.module,
        phase=refusal.alloc.phase.value,
        step=refusal.alloc.step,
        what=_what(refusal.alloc),
        message=oom_message(refusal, target),
    )


def _what(alloc: Alloc) -> str:
    shape = " x ".join(map(str, alloc.shape))
    return f"{alloc.category.value} of {alloc.op}" + (f", {shape} {alloc.dtype}" if shape else "")


def _unsplit_bytes(profile: MemoryProfile) -> int:
    """Return what the blocks alive at the peak may count beyond their requests.

    A large block may be taken from a cached one that is up to 1 MiB larger, and then counts whole.
    Which cached blocks there are differs from step to step, even where every step asks for the
    same: four steps of one model on one batch were seen to peak within 6 MiB of each other.
    """
    large = sum(block.nbytes > SMALL_REQUEST_BYTES for block in profile.holders)
    return large * LARGEST_REMAINDER_BYTES


def _upper_end_bytes(expected: MemoryProfile, high: MemoryProfile) -> int:
    """Return the most that the peak may come to, with what blocks may leave unsplit."""
    return max(high.peak.allocated_bytes, expected.peak.allocated_bytes) + _unsplit_bytes(high)


def _lower_end_bytes(expected: MemoryProfile, low: MemoryProfile) -> int:
    """Return the least that the peak may come to: large blocks find cached ones that fit."""
    unsplit = sum(
        block.nbytes - block_bytes(block.alloc.nbytes)
        for block in low.holders
        if block.alloc.nbytes > SMALL_REQUEST_BYTES
    )
    return min(low.peak.allocated_bytes - unsplit, expected.peak.allocated_bytes)


def peak_of(expected: MemoryProfile, low: MemoryProfile, high: MemoryProfile) -> Peak:
    """Return the peak of the expected run, bounded by the other two."""
    moment, high_bytes = expected.peak, _upper_end_bytes(expected, high)
    reserved = max(high.peak_reserved_bytes, expected.peak_reserved_bytes)
    return Peak(
        allocated_bytes=moment.allocated_bytes,
        low_bytes=_lower_end_bytes(expected, low),
        high_bytes=high_bytes,
        reserved_bytes=expected.peak_reserved_bytes,
        # What blocks may leave unsplit is reserved too, if it is ever allocated.
        high_reserved_bytes=max(reserved, high_bytes),
        phase=moment.phase.value,
        module=moment.module,
        op=moment.op,
        holders=_holders(expected.holders),
        by_category={c.value: n for c, n in expected.by_category.items() if n},
    )


def _holders(blocks: Sequence[LiveBlock]) -> tuple[Holder, ...]:
    """Return the largest blocks, alike ones of one module and operation taken together."""
    alike: dict[tuple[object, ...], list[LiveBlock]] = defaultdict(list)
    for live in blocks:
        alloc = live.alloc
        key = (alloc.category, alloc.module, alloc.op, alloc.shape, alloc.dtype, live.nbytes)
        alike[key].append(live)
    groups = sorted(alike.values(), key=lambda g: (-sum(b.nbytes for b in g), g[0].alloc.block))
    return tuple(
        Holder(
            nbytes=sum(live.nbytes for live in group),
            category=group[0].alloc.category.value,
            module=group[0].alloc.module,
            op=group[0].alloc.op,
            shape=group[0].alloc.shape,
            dtype=group[0].alloc.dtype,
            count=len(group),
        )
        for group in groups[:_TOP_HOLDERS]
    )
