"""Whether a step fits: said of the upper end, denied of the expected run, else it depends."""

from dataclasses import replace

from bevdiag.diagnose.result import GpuFit, Verdict
from bevdiag.memory.catalogue import all_gpus
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc, EventStream
from bevdiag.memory.profile import MemoryProfile
from bevdiag.memory.simulate import fits, simulate
from bevdiag.memory.workspaces import Bound


def judge(
    target: DeviceTarget,
    expected_stream: EventStream,
    expected: MemoryProfile,
    upper_stream: EventStream,
    upper: MemoryProfile,
) -> Verdict:
    """The verdict for a target.

    `expected_stream` is the step with the expected counts and `expected` its memory without a
    limit; `upper_stream` is the step at the upper end, `upper` its memory with the largest
    workspaces.
    """
    if expected_stream.unmodelled or upper_stream.unmodelled:
        return Verdict.UNKNOWN
    if target.capacity_bytes is None:
        return Verdict.NO_BUDGET
    if not fits(expected_stream, target, expected):
        return Verdict.OVER
    if fits(upper_stream, target, upper, bound=Bound.HIGH):
        return Verdict.FITS
    return Verdict.DEPENDS


def fit_on_gpus(
    target: DeviceTarget, expected_stream: EventStream, upper_stream: EventStream
) -> tuple[GpuFit, ...]:
    """The same step on every GPU of the catalogue, with the target's library versions."""
    profiles: dict[object, tuple[MemoryProfile, MemoryProfile]] = {}
    floor = _floor_on_any_chip(expected_stream, target)
    fits_on = []
    for gpu in all_gpus():
        candidate = target.on(gpu)
        capacity = candidate.capacity_bytes
        assert capacity is not None
        if floor > capacity and not expected_stream.unmodelled:
            fits_on.append(GpuFit(gpu=gpu.name, capacity_bytes=capacity, verdict=Verdict.OVER))
            continue
        # What is asked for depends on the chip, not on how much memory sits beside it.
        chip = replace(candidate, gpu=None, capacity_bytes=None, total_bytes=None, context_bytes=0)
        if chip not in profiles:
            profiles[chip] = (
                simulate(expected_stream, chip, until_oom=False),
                simulate(upper_stream, chip, until_oom=False, bound=Bound.HIGH),
            )
        expected, upper = profiles[chip]
        verdict = judge(candidate, expected_stream, expected, upper_stream, upper)
        fits_on.append(GpuFit(gpu=gpu.name, capacity_bytes=capacity, verdict=verdict))
    return tuple(fits_on)


def _floor_on_any_chip(stream: EventStream, target: DeviceTarget) -> int:
    """What the step needs at least, whatever workspaces the chip's libraries take."""
    bare = EventStream(
        events=[
            replace(event, request=None) if isinstance(event, Alloc) and event.request else event
            for event in stream.events
        ],
        num_steps=stream.num_steps,
    )
    return simulate(bare, target, until_oom=False).floor_bytes
