"""The recorded scenarios of one step, simulated on a target and judged: made in one place."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bevdiag.memory.allocator import LARGEST_REMAINDER_BYTES, SMALL_REQUEST_BYTES, block_bytes
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc
from bevdiag.memory.profile import LiveBlock, MemoryProfile, oom_message
from bevdiag.memory.simulate import simulate, walk
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
        """The upper end of the peak, which is what must fit, with what blocks leave unsplit."""
        highest = max(self.high.peak.allocated_bytes, self.expected.peak.allocated_bytes)
        return highest + _unsplit_bytes(self.high)

    @property
    def low_bytes(self) -> int:
        """The lower end of the peak: large blocks find cached ones that fit."""
        low = self.low
        unsplit = sum(
            block.nbytes - block_bytes(block.alloc.nbytes)
            for block in low.holders
            if block.alloc.nbytes > SMALL_REQUEST_BYTES
        )
        return min(low.peak.allocated_bytes - unsplit, self.expected.peak.allocated_bytes)

    @property
    def low(self) -> MemoryProfile:
        """The memory at the lower end."""
        return simulate(self.low_trace.stream, self.target, until_oom=False, bound=Bound.LOW)

    def figures(self, bev_channels: int | None) -> dict[str, Any]:
        """Return what `Figures` hold, by name."""
        return {
            "verdict": self.verdict,
            "peak_allocated_bytes": self.expected.peak.allocated_bytes,
            "high_bytes": self.high_bytes,
            "reserved_bytes": self.expected.peak_reserved_bytes,
            "params": self.trace.params_by_module["total"],
            "bev_channels": bev_channels,
        }

    def peak(self) -> Peak:
        """Return the peak of the expected run, between its ends."""
        expected, high_bytes = self.expected, self.high_bytes
        reserved = max(self.high.peak_reserved_bytes, expected.peak_reserved_bytes)
        return Peak(
            allocated_bytes=expected.peak.allocated_bytes,
            low_bytes=self.low_bytes,
            high_bytes=high_bytes,
            reserved_bytes=expected.peak_reserved_bytes,
            # What blocks may leave unsplit is reserved too, if it is ever allocated.
            high_reserved_bytes=max(reserved, high_bytes),
            phase=expected.peak.phase.value,
            module=expected.peak.module,
            op=expected.peak.op,
            holders=_holders(expected.holders),
            by_category={c.value: n for c, n in expected.by_category.items() if n},
        )

    def oom(self) -> OutOfMemory | None:
        """Where the step stops, at the upper end if not with the expected counts."""
        ends = ((self.trace, Bound.EXPECTED), (self.high_trace, Bound.HIGH))
        stops = (walk(trace.stream, self.target, bound=bound).refusal for trace, bound in ends)
        refusal = next(filter(None, stops), None)
        if refusal is None:
            return None
        return OutOfMemory(
            requested_bytes=refusal.requested_bytes,
            module=refusal.alloc.module,
            phase=refusal.alloc.phase.value,
            step=refusal.alloc.step,
            what=_what(refusal.alloc),
            message=oom_message(refusal, self.target),
        )

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


def _holders(blocks: Sequence[LiveBlock]) -> tuple[Holder, ...]:
    """Return the largest blocks, alike ones of one module and operation taken together."""
    alike: dict[Holder, list[LiveBlock]] = defaultdict(list)
    for live in blocks:
        alloc = live.alloc
        one = Holder(
            nbytes=live.nbytes,
            category=alloc.category.value,
            module=alloc.module,
            op=alloc.op,
            shape=alloc.shape,
            dtype=alloc.dtype,
        )
        alike[one].append(live)
    groups = [
        (replace(one, nbytes=one.nbytes * len(group), count=len(group)), group[0].alloc.block)
        for one, group in alike.items()
    ]
    groups.sort(key=lambda group: (-group[0].nbytes, group[1]))
    return tuple(holder for holder, _ in groups[:_TOP_HOLDERS])
