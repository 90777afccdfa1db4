"""From a source and its recorded step to the one frozen value that every command shows."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bevdiag.memory.events import EventStream
from bevdiag.memory.history import block_lives, record, saved_bytes_by_module
from bevdiag.memory.profile import MemoryProfile
from bevdiag.models.interfaces import Changes
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.judged import Judged, judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import FirstStep, Layer, Params, Prediction, TimelinePoint
from bevdiag.prediction.step_source import EVERY, Recorded, StepSource
from bevdiag.trace.wiring import LayerRecord

if TYPE_CHECKING:
    from bevdiag.prediction.repository import Repository


def kind_of(options: InspectOptions) -> "type[BuiltIn] | type[Repository]":
    """Return the kind of source that the options ask for."""
    if options.source is None:
        return BuiltIn
    from bevdiag.prediction.repository import Repository  # stubs for all that user code imports

    return Repository


def source_of(
    config: Path, options: InspectOptions, repairs: Changes | None = None
) -> "BuiltIn | Repository":
    """Read the step of a config, of whichever kind the options ask for.

    Args:
        config: the file.
        options: the user's.
        repairs: edits of a config that cannot be used without them.

    Raises:
        BevdiagError: a config or option that cannot be used.
    """
    return kind_of(options).read(config, options, repairs)


def predict(source: StepSource) -> Prediction:
    """Record the source's step, simulate it, judge it.

    Raises:
        BevdiagError: the step cannot be recorded.
    """
    recorded = source.record(EVERY)
    return prediction_of(source, recorded, judged(recorded.traces, source.target()))


def prediction_of(source: StepSource, recorded: Recorded, step: Judged) -> Prediction:
    """Make the prediction of a recorded and judged step, whatever gave its model."""
    trace, expected, options = step.trace, step.expected, source.options
    by_module, first = dict(trace.params_by_module), expected.first_step
    findings, silenced = source.findings(recorded, step)
    return Prediction(
        config=source.name,
        model=source.model,
        target=step.target,
        device="meta",
        autocast=source.autocast,
        optimizer=source.optimizer,
        scene=recorded.scene,
        params=Params(
            total=by_module.pop("total"),
            modules=by_module,
            without_grad=sum(trace.params_without_grad.values()),
        ),
        bev_channels=source.bev_channels,
        peak=step.peak(),
        first_step=FirstStep(peak_allocated_bytes=first.allocated_bytes if first else 0),
        phases={use.phase.value: use for use in expected.phases},
        timeline=timeline_of(trace.stream, expected),
        layers=layers_of(trace.layers, trace.stream, expected),
        assumptions=recorded.assumptions,
        verdict=step.verdict,
        oom=step.oom(),
        gpus=step.gpus(),
        findings=findings,
        wiring=trace.wiring,
        remedies=(),
        silenced=silenced,
        unmodelled=tuple(trace.stream.unmodelled),
        flops=trace.flops,
        blocks=block_lives(trace.stream, step.target) if options.blocks else (),
        snapshot=record(trace.stream, step.target) if options.snapshot else None,
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
