"""From a source and its recorded step to the one frozen value that every command shows."""

from pathlib import Path
from typing import TYPE_CHECKING

from bevdiag.memory.profile import MemoryProfile
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.compressions import Changes
from bevdiag.prediction.judged import Judged, judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction
from bevdiag.prediction.step_source import EVERY, Recorded, StepSource
from bevdiag.prediction.summary import layers_of, phases_of, timeline_of
from bevdiag.prediction.target import target_of
from bevdiag.trace.data_flow import wiring_of

if TYPE_CHECKING:
    from bevdiag.prediction.repository import Repository


def kind_of(options: InspectOptions) -> "type[BuiltIn] | type[Repository]":
    """The kind of source that the options ask for."""
    if options.source is None:
        return BuiltIn
    from bevdiag.prediction.repository import Repository  # stubs for all that user code imports

    return Repository


def source_of(
    config: Path, options: InspectOptions, repairs: Changes | None = None
) -> "BuiltIn | Repository":
    """The step of a config, of whichever kind the options ask for.

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
    """The prediction of a recorded and judged step, whatever gave its model."""
    trace, expected = step.trace, step.expected
    by_module = dict(trace.params_by_module)
    findings, silenced = source.findings(recorded, step)
    return Prediction(
        config=source.name,
        model=source.model,
        target=target_of(step.target),
        device="meta",
        autocast=source.autocast,
        optimizer=source.optimizer,
        scene=recorded.scene,
        params_total=by_module.pop("total"),
        params_by_module=by_module,
        params_without_grad=sum(trace.params_without_grad.values()),
        bev_channels=source.bev_channels,
        peak=step.peak(),
        first_step_peak_bytes=_first_step_bytes(expected),
        phases=phases_of(expected),
        timeline=timeline_of(trace.stream, expected),
        layers=layers_of(trace.layers, trace.stream, expected),
        assumptions=recorded.assumptions,
        verdict=step.verdict,
        oom=step.oom(),
        gpus=step.gpus(),
        findings=findings,
        wiring=wiring_of(trace),
        remedies=(),
        silenced=silenced,
        unmodelled=tuple(trace.stream.unmodelled),
        flops=trace.flops,
    )


def _first_step_bytes(profile: MemoryProfile) -> int:
    return profile.first_step.allocated_bytes if profile.first_step else 0
