"""From a trace and its simulated memory to the figures of a report."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace

from bevdiag.memory.allocator import LARGEST_REMAINDER_BYTES, SMALL_REQUEST_BYTES, block_bytes
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import EventStream
from bevdiag.memory.history import block_lives, record, saved_bytes_by_module
from bevdiag.memory.profile import LiveBlock, MemoryProfile
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import (
    Holder,
    Layer,
    Peak,
    Prediction,
    TimelinePoint,
)
from bevdiag.trace.wiring import LayerRecord

_TOP_HOLDERS = 12


def unsplit_bytes(profile: MemoryProfile) -> int:
    """Return what the blocks alive at the peak may count beyond their requests.

    A large block may be taken from a cached one that is up to 1 MiB larger, and then counts whole.
    Which cached blocks there are differs from step to step, even where every step asks for the
    same: four steps of one model on one batch were seen to peak within 6 MiB of each other.
    """
    large = sum(block.nbytes > SMALL_REQUEST_BYTES for block in profile.holders)
    return large * LARGEST_REMAINDER_BYTES


def upper_end_bytes(expected: MemoryProfile, high: MemoryProfile) -> int:
    """Return the most that the peak may come to, with what blocks may leave unsplit."""
    return max(high.peak.allocated_bytes, expected.peak.allocated_bytes) + unsplit_bytes(high)


def lower_end_bytes(expected: MemoryProfile, low: MemoryProfile) -> int:
    """Return the least that the peak may come to: large blocks find cached ones that fit."""
    unsplit = sum(
        block.nbytes - block_bytes(block.alloc.nbytes)
        for block in low.holders
        if block.alloc.nbytes > SMALL_REQUEST_BYTES
    )
    return min(low.peak.allocated_bytes - unsplit, expected.peak.allocated_bytes)


def peak_of(expected: MemoryProfile, low: MemoryProfile, high: MemoryProfile) -> Peak:
    """Return the peak of the expected run, bounded by the other two."""
    moment, high_bytes = expected.peak, upper_end_bytes(expected, high)
    reserved = max(high.peak_reserved_bytes, expected.peak_reserved_bytes)
    return Peak(
        allocated_bytes=moment.allocated_bytes,
        low_bytes=lower_end_bytes(expected, low),
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


def timeline_of(stream: EventStream, profile: MemoryProfile) -> tuple[TimelinePoint, ...]:
    """Allocated and reserved bytes after every event of the last step; its last module's name."""
    curve = profile.timeline
    stop = curve.start + len(curve.allocated)
    phases = [
        part.phase.value
        for part in stream.sections(stop)
        if part.start >= curve.start
        for _ in range(part.start, part.stop)
    ]
    module, modules = "", []
    for block in stream.events[curve.start : stop].tolist():
        if block >= 0:
            module = stream.names[stream.module[block]]
        modules.append(module)
    return tuple(
        TimelinePoint(phase=phase, module=module, allocated_bytes=used, reserved_bytes=reserved)
        for phase, module, used, reserved in zip(
            phases, modules, curve.allocated.tolist(), curve.reserved.tolist(), strict=True
        )
    )


def with_history(
    report: Prediction, options: InspectOptions, stream: EventStream, target: DeviceTarget
) -> Prediction:
    """Add what a timeline or a snapshot is drawn from to the report, where it is asked for."""
    if options.blocks:
        report = replace(report, blocks=block_lives(stream, target))
    if options.snapshot:
        report = replace(report, snapshot=record(stream, target))
    return report


def layers_of(
    records: Sequence[LayerRecord], stream: EventStream, profile: MemoryProfile
) -> tuple[Layer, ...]:
    """Build the layer tree with what each module keeps for backward, its peak and its workspace."""
    saved = saved_bytes_by_module(stream)
    return tuple(
        Layer(
            **asdict(record),
            saved_bytes=saved.get(record.name, 0),
            peak_bytes=profile.module_peaks.get(record.name, 0),
            workspace_bytes=profile.workspaces.get(record.name, 0),
        )
        for record in records
    )
