"""The predicted step of a config, in every case that a message may come from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bevdiag.explain.answer import Failure
from bevdiag.explain.candidates import Case
from bevdiag.memory.catalogue import all_gpus
from bevdiag.memory.conv import CUDNN_64BIT, conv_backend
from bevdiag.memory.device import DeviceTarget, make_target
from bevdiag.memory.events import EventStream
from bevdiag.memory.requests import ConvCall
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import source_of
from bevdiag.trace.kept_voxels import KeptVoxels, Scenario

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
