"""The recorded scenarios of one step, simulated on a target and judged: made in one place."""

from collections.abc import Mapping
from dataclasses import dataclass

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc
from bevdiag.memory.profile import MemoryProfile, oom_message
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import GpuFit, Verdict, fit_on_gpus, judge
from bevdiag.memory.workspaces import Bound
from bevdiag.prediction.result import OutOfMemory, Peak
from bevdiag.prediction.summary import lower_end_bytes, peak_of, unsplit_bytes, upper_end_bytes
from bevdiag.trace.scenarios import Scenario
from bevdiag.trace.step import Trace


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
        return upper_end_bytes(self.expected, self.high)

    @property
    def low_bytes(self) -> int:
        """The lower end of the peak."""
        return lower_end_bytes(self.expected, self.low)

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
            unsplit_bytes=unsplit_bytes(self.high),
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
        verdict=judge(target, trace.stream, high_trace.stream, unsplit_bytes=unsplit_bytes(high)),
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
