"""Whether a step fits: said of the upper end, denied of the expected run, else it depends."""

from dataclasses import dataclass, replace
from enum import Enum

from bevdiag.memory.catalogue import all_gpus
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import EventStream
from bevdiag.memory.footprint import Requests, Unlimited
from bevdiag.memory.simulate import fits
from bevdiag.memory.workspaces import Bound


class Verdict(str, Enum):
    """Whether the step fits the budget; `fits` is said of the upper end only."""

    FITS = "fits"
    OVER = "over"
    DEPENDS = "depends"
    UNKNOWN = "unknown"
    NO_BUDGET = "no budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFit:
    """The same step on one GPU of the catalogue. `needed_bytes` is the upper end of reserved."""

    gpu: str
    capacity_bytes: int
    verdict: Verdict


def judge(
    target: DeviceTarget,
    expected_stream: EventStream,
    expected: Unlimited,
    upper_stream: EventStream,
    upper: Unlimited,
    *,
    unsplit_bytes: int,
) -> Verdict:
    """The verdict for a target.

    `expected_stream` is the step with the expected counts and `expected` its memory without a
    limit; `upper_stream` is the step at the upper end, `upper` its memory with the largest
    workspaces. `unsplit_bytes` is what the upper end's blocks may count beyond their requests; so
    much must stay free, and what the capacity may be less than it is assumed to be.
    """
    if expected_stream.unmodelled or upper_stream.unmodelled:
        return Verdict.UNKNOWN
    if target.capacity_bytes is None:
        return Verdict.NO_BUDGET
    if not fits(expected_stream, target, expected):
        return Verdict.OVER
    spared = unsplit_bytes + target.doubt_bytes
    with_room = replace(target, capacity_bytes=max(1, target.capacity_bytes - spared))
    if fits(upper_stream, with_room, upper, bound=Bound.HIGH):
        return Verdict.FITS
    return Verdict.DEPENDS


def fit_on_gpus(
    target: DeviceTarget,
    expected_stream: EventStream,
    upper_stream: EventStream,
    *,
    unsplit_bytes: int,
) -> tuple[GpuFit, ...]:
    """The same step on the catalogue's usual GPUs, with the target's library versions."""
    expected = Requests(expected_stream)
    upper = expected if upper_stream is expected_stream else Requests(upper_stream)
    fits_on = []
    for gpu in all_gpus():
        if not gpu.is_shown:
            continue
        candidate = target.on(gpu)
        capacity = candidate.capacity_bytes
        assert capacity is not None
        if expected.least_bytes > capacity and not expected_stream.unmodelled:
            verdict = Verdict.OVER
        else:
            verdict = judge(
                candidate,
                expected_stream,
                expected.footprint(candidate, Bound.EXPECTED),
                upper_stream,
                upper.footprint(candidate, Bound.HIGH),
                unsplit_bytes=unsplit_bytes,
            )
        fits_on.append(GpuFit(gpu=gpu.name, capacity_bytes=capacity, verdict=verdict))
    return tuple(fits_on)
