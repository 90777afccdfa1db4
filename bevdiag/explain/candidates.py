"""Which allocation of a predicted step a message is about.

A message gives up to three clues: the segment that was asked for, what was allocated at that
moment, and how much the allocator could have had. The step is walked in every case that the
message may come from (another cuDNN, other counts that depend on values); allocations whose segment
prints like the message's are candidates, and where a walk within the message's capacity stops says
which of them comes first. What cuDNN can do without never fails and is no candidate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch

from bevdiag.explain.answer import Candidate, Certainty, Failure, Stack
from bevdiag.explain.decode import asks_for
from bevdiag.memory.allocator import block_bytes, segment_bytes
from bevdiag.memory.catalogue import all_gpus
from bevdiag.memory.conv import CUDNN_64BIT, INT32_MAX, conv_backend
from bevdiag.memory.device import DeviceTarget, make_target
from bevdiag.memory.events import Alloc, Category, EventStream
from bevdiag.memory.requests import ConvCall, GemmWorkspace
from bevdiag.memory.simulate import walk
from bevdiag.memory.sizes import format_size
from bevdiag.memory.workspaces import workspace
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import source_of
from bevdiag.trace.kept_voxels import KeptVoxels, Scenario

PREDICTION_ERROR = 0.10
"""How far predicted and measured totals may lie apart: the project's accuracy promise, also where
the user's scene is another than the predicted one."""

_LAYERS = {
    "activation": ("relu", "gelu", "sigmoid", "softmax", "baddbmm", "bmm", "addmm", "clamp"),
    "batchnorm": ("native_batch_norm", "cudnn_batch_norm", "empty_like", "clone"),
    "conv": ("convolution", "constant_pad"),
    "linear": ("mm", "addmm", "clone", "_to_copy"),
    "normalization": ("native_layer_norm",),
    "padding": ("constant_pad",),
}
"""Operations that the modules in a file of torch.nn run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One set of circumstances under which the message may have come about.

    Attributes:
        stream: the predicted step.
        target: versions, and the capacity that the message tells, None where it tells none.
        assumption: what it takes for granted beyond the user's options, empty for nothing.
        count: the count that depends on values and differs between cases, None without one.
    """

    stream: EventStream
    target: DeviceTarget
    assumption: str
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One allocation of one case, beside the message that it may be the cause of."""

    failure: Failure
    case: Case
    event: int
    alloc: Alloc
    nbytes: int
    allocated_bytes: int
    has_size: bool
    stops_here: bool = False

    @property
    def agrees_with_stack(self) -> bool:
        """Whether the traceback does not speak against the allocation.

        Losses are computed by a head's code, though no module's forward is running then.
        """
        alloc, stack = self.alloc, self.failure.stack
        operations = _LAYERS.get(stack.layer, ())
        part = alloc.module.partition(".")[0]
        return (
            (not stack.phase or stack.phase == alloc.phase.value)
            and (not stack.part or part in ("", stack.part))
            and (not operations or any(operation in alloc.op for operation in operations))
        )

    @property
    def distance(self) -> float | None:
        """How far the predicted total lies from the message's, as a share of it, if it has one."""
        if self.failure.allocated is None:
            return None
        stated = max(self.failure.allocated.middle_bytes, 1)
        return abs(self.allocated_bytes - stated) / stated

    @property
    def is_near(self) -> bool:
        """Whether as much is allocated by then as the message says, as far as is known."""
        return self.distance is None or self.distance <= PREDICTION_ERROR

    @property
    def rank(self) -> tuple[object, ...]:
        """Sorts the likeliest first."""
        return (
            not self.agrees_with_stack,
            not self.has_size,
            not self.is_near,
            not self.stops_here,
            self.distance or 0.0,
            bool(self.case.assumption),
            self.event,
        )


def is_optional(alloc: Alloc, target: DeviceTarget) -> bool:
    """Whether PyTorch goes on without it: it skips an engine of cuDNN, it does not fail."""
    return alloc.request is not None and workspace(alloc.request, target).is_optional


def between(failure: Failure, cases: Sequence[Case]) -> Iterator[Match]:
    """Allocations that have the size at a count between or beyond those that were predicted.

    Sizes and totals grow in proportion to a count that depends on values. Two walks of the same
    events therefore tell, for each allocation, at which count it would ask for the figure, and
    what would be allocated by then; the message's own total says which of them it was.
    """
    figure, capacity = failure.requested, failure.capacity_bytes
    pair = _alike(cases)
    if pair is None or figure is None or capacity is None or failure.allocated is None:
        return
    low, high = (walk(case.stream, case.target, until_oom=False) for case in pair)
    sizes = np.array([low.requested, high.requested])
    totals = np.array([low.allocated, high.allocated])
    fewest, more = pair[0].count or 0, pair[1].count or 0
    # How far beyond the first of the two cases, in steps of their difference, counts can lie.
    limit = (max(case.count or 0 for case in cases) - fewest) / (more - fewest)
    stream = pair[0].stream
    grown = np.flatnonzero(sizes[0] != sizes[1])
    for index, event in zip(stream.made[grown].tolist(), stream.allocs(grown), strict=True):
        if is_optional(event, pair[0].target):
            continue
        small, large = (int(size) for size in sizes[:, event.block])
        share = (figure.middle_bytes - small) / (large - small)
        before = totals[0, :index] + share * (totals[1, :index] - totals[0, :index])
        if not 0 <= share <= limit or not index or before.max() > capacity:
            continue  # there can be no such count, or memory would have run out earlier
        kept = round(fewest + share * (more - fewest))
        assumption = f"about {kept:,} voxels kept, which depends on values"
        match = Match(
            failure=failure,
            case=replace(pair[0], assumption=assumption),
            event=index,
            alloc=event,
            nbytes=figure.middle_bytes,
            allocated_bytes=int(before[-1]),
            has_size=True,
        )
        if match.is_near:
            yield match


def _alike(cases: Sequence[Case]) -> tuple[Case, Case] | None:
    """Two cases that differ in nothing but the count; None if there are none."""
    for first, second in combinations(sorted(cases, key=lambda case: case.count or 0), 2):
        one, other = first.stream.events, second.stream.events
        if (
            None not in (first.count, second.count)
            and first.count != second.count
            and first.target == second.target
            and np.array_equal(np.sign(one), np.sign(other))
            and [(a.module, a.op) for a in first.stream.allocs()]
            == [(a.module, a.op) for a in second.stream.allocs()]
        ):
            return first, second
    return None


MAX_CANDIDATES = 6


def search(failure: Failure, cases: Sequence[Case]) -> tuple[Candidate, ...]:
    """Find the allocations that the message may be about, the likeliest first.

    Where no allocation has the size, those stand in at which the walks stop.
    """
    matches = sorted((m for case in cases for m in _matches(failure, case)), key=attrgetter("rank"))
    if not any(match.has_size and match.is_near for match in matches):
        matches = sorted(between(failure, cases), key=attrgetter("rank")) or matches
    best: dict[tuple[object, ...], Match] = {}
    for match in matches:
        alloc = match.alloc
        key = (alloc.module, alloc.phase, alloc.op, alloc.shape, match.nbytes)
        best.setdefault(key, match)
    kept = list(best.values())
    if kept and kept[0].has_size:
        kept = [match for match in kept if match.has_size]
    return tuple(_candidate(match, kept) for match in kept[:MAX_CANDIDATES])


def _matches(failure: Failure, case: Case) -> Iterator[Match]:
    totals = walk(case.stream, case.target, until_oom=False)
    stop = None
    if case.target.capacity_bytes is not None:
        refusal = walk(case.stream, case.target).refusal
        stop = refusal.event if refusal is not None else None
    figure = failure.requested
    made, sizes = case.stream.made.tolist(), totals.requested.tolist()
    for index, nbytes, event in zip(made, sizes, case.stream.allocs(), strict=True):
        if not nbytes or is_optional(event, case.target):
            continue
        has_size = figure is not None and asks_for(nbytes, figure)
        if not has_size and index != stop:
            continue
        yield Match(
            failure=failure,
            case=case,
            event=index,
            alloc=event,
            nbytes=nbytes,
            allocated_bytes=int(totals.allocated[index] - totals.granted[event.block]),
            has_size=has_size,
            stops_here=index == stop,
        )


def _candidate(match: Match, kept: Sequence[Match]) -> Candidate:
    alloc, target = match.alloc, match.case.target
    what, arithmetic, condition = described(alloc, match.nbytes, target)
    conditions = (condition, match.case.assumption)
    return Candidate(
        module=alloc.module,
        phase=alloc.phase.value,
        step=alloc.step,
        what=what,
        arithmetic=arithmetic,
        nbytes=match.nbytes,
        requested_bytes=segment_bytes(block_bytes(match.nbytes)),
        allocated_bytes=match.allocated_bytes,
        condition="; ".join(dict.fromkeys(filter(None, conditions))),
        certainty=_certainty(match, kept),
        reasons=tuple(_reasons(match)),
    )


def _certainty(best: Match, kept: Sequence[Match]) -> Certainty:
    """Certain is the first that has the size, while no other asks for it near that moment."""
    fitted = best.case.count is not None and best.case.assumption
    fits = best.has_size and best.is_near and best.agrees_with_stack
    if best is not kept[0] or fitted or not fits:
        return Certainty.POSSIBLE
    rivals = (
        match
        for match in kept
        if match.alloc.module != best.alloc.module and match.is_near and match.agrees_with_stack
    )
    return Certainty.LIKELY if any(rivals) else Certainty.CERTAIN


def _reasons(match: Match) -> Iterator[str]:
    failure = match.failure
    requested = format_size(segment_bytes(block_bytes(match.nbytes)))
    if match.has_size:
        yield f"its segment prints as {requested}"
    elif failure.requested is not None:
        yield (
            f"no allocation prints as {failure.requested.text}; this one, of {requested}, is where "
            "the predicted step runs out of memory"
        )
    if match.stops_here and match.has_size:
        yield "the predicted step stops here within the capacity that the message states"
    if failure.allocated is not None:
        yield (
            f"{format_size(match.allocated_bytes)} are predicted to be allocated then, the message "
            f"says {failure.allocated.text}"
        )
    if failure.stack != Stack():
        agrees = "agrees with" if match.agrees_with_stack else "speaks against"
        yield f"the traceback {agrees} it"


_FIXED = ".".join(map(str, CUDNN_64BIT[:2]))
_DIRECTIONS = {
    "forward": "forward convolution",
    "dgrad": "convolution's input gradient",
    "wgrad": "convolution's weight gradient",
}


def described(alloc: Alloc, nbytes: int, target: DeviceTarget) -> tuple[str, str, str]:
    """Return what the allocation is, the product that gives its bytes, and what must hold for it.

    The last is empty where cuDNN's version does not decide whether the step asks for it.
    """
    segment = format_size(segment_bytes(block_bytes(nbytes)))
    printed = f"{nbytes:,} B = {format_size(nbytes)}"
    if segment != format_size(nbytes):
        printed += f", in a segment of {segment}"
    if isinstance(alloc.request, ConvCall):
        return _of_convolution(alloc.request, printed, target)
    if isinstance(alloc.request, GemmWorkspace):
        return "cuBLAS workspace", printed, ""
    operation = alloc.op.removeprefix("aten.").partition(".")[0]
    made = f"of {operation}" if alloc.category is not Category.INPUT else "in the batch"
    elements = prod(alloc.shape)
    if alloc.shape and elements and nbytes % elements == 0:
        printed = f"{_shape(alloc.shape)} x {nbytes // elements} B = {printed}"
    return f"{alloc.category.value} {made}", printed, ""


def _of_convolution(call: ConvCall, printed: str, target: DeviceTarget) -> tuple[str, str, str]:
    choice, direction = conv_backend(call, target.cudnn), _DIRECTIONS[call.direction]
    condition = ""
    if choice.needs_64bit:
        old = f"before {_FIXED} (torch's default wheels up to 2.6)"
        new = f"{_FIXED} or later (torch's default wheels from 2.7 on)"
        condition = (
            f"cuDNN {old if choice.refused_by_cudnn else new}: one sample has "
            f"{choice.elements:,} elements, more than 2^31 - 1 = {INT32_MAX:,}"
        ) + (", so PyTorch bypasses cuDNN" if choice.refused_by_cudnn else "")
    columns = choice.columns
    if columns is None:
        shapes = " + ".join(map(_shape, (call.input_shape, call.weight_shape, call.output_shape)))
        copies = f"channels-last copies of {shapes} x {call.element_bytes} B: {printed}"
        return f"cuDNN workspace of the {direction}", copies, condition
    product = (
        f"{columns.channels:,} channels x {columns.kernel_volume} x {columns.positions:,} "
        f"positions x {columns.element_bytes} B = {printed}, for one sample whatever the batch"
    )
    return f"im2col buffer (workspace) of the {direction}", product, condition


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape) or "1"


LAST_CUDNN_WITHOUT_64BIT = (9, 1, 0)
"""What torch's default wheels shipped last before cuDNN could index with 64 bits."""

_COUNTS = {
    Scenario.EXPECTED: "",
    Scenario.LOW: "the counts that depend on values are at their low end",
    Scenario.HIGH: "the counts that depend on values are at their high end",
}


def predicted_cases(
    failure: Failure, config: Path, options: InspectOptions
) -> tuple[DeviceTarget, tuple[Case, ...], tuple[str, ...]]:
    """Return the assumed target, the cases, and what is taken for granted.

    Raises:
        BevdiagError: the config, the repository or an option cannot be used.
    """
    gpu = options.gpu or _gpu_of(failure)
    target = make_target(
        torch=options.torch or torch.__version__,
        gpu=gpu,
        cudnn=options.cudnn,
        profile=options.profile,
        cudnn_benchmark=options.cudnn_benchmark,
    )
    # The memory that the message says the allocator could have had.
    capacity = failure.capacity_bytes
    total = failure.total.middle_bytes if failure.total is not None else capacity
    target = replace(target, capacity_bytes=capacity, total_bytes=total)
    # Traced as for any prediction, but for the message's GPU.
    source = source_of(config, replace(options, gpu=target.gpu)).as_it_arrives()
    recorded = source.record()
    streams = {scenario: trace.stream for scenario, trace in recorded.traces.items()}
    cases = tuple(
        _cases(streams, recorded.kept_voxels, target, is_pinned=options.cudnn is not None)
    )
    unmodelled = streams[Scenario.EXPECTED].unmodelled
    notes = [f"not modelled: {name}" for name in unmodelled]
    if gpu is not None and options.gpu is None:
        notes.append(f"the GPU is taken to be {gpu}: its memory prints like the message's")
    if options.cudnn is None and any(_needs_64_bit(stream) for stream in streams.values()):
        notes.append("--cudnn VERSION says which cuDNN the failing process had")
    return target, cases, tuple(notes)


def _gpu_of(failure: Failure) -> str | None:
    """Return the catalogue's GPU whose memory prints like the message's; None if several differ."""
    total = failure.total
    alike = [gpu for gpu in all_gpus() if total is not None and total.holds(gpu.total_bytes)]
    return alike[0].name if len({gpu.compute_capability for gpu in alike}) == 1 else None


def _cases(
    streams: Mapping[Scenario, EventStream],
    kept: Sequence[KeptVoxels],
    target: DeviceTarget,
    *,
    is_pinned: bool,
) -> Iterator[Case]:
    counts = {}
    if len(kept) == 1:
        (site,) = kept
        counts = {Scenario.LOW: site.low, Scenario.EXPECTED: site.used, Scenario.HIGH: site.high}
    for scenario, stream in streams.items():
        case = Case(
            stream=stream,
            target=target,
            assumption=_COUNTS[scenario],
            count=counts.get(scenario),
        )
        yield case
        if not is_pinned and _needs_64_bit(stream):
            # Whatever torch is installed here, the message may come from another.
            is_new = target.cudnn >= CUDNN_64BIT
            other = LAST_CUDNN_WITHOUT_64BIT if is_new else CUDNN_64BIT
            yield replace(case, target=replace(target, cudnn=other))


def _needs_64_bit(stream: EventStream) -> bool:
    """Whether cuDNN's version decides which kernel some convolution gets."""
    return any(
        isinstance(request, ConvCall)
        and conv_backend(request, LAST_CUDNN_WITHOUT_64BIT).refused_by_cudnn
        for request in stream.requests
    )
