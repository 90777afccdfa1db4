"""From a source and its recorded step to the one frozen value that every command shows."""

from pathlib import Path
from typing import TYPE_CHECKING

from bevdiag.models.interfaces import Changes
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.judged import Judged, judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import FirstStep, Params, Prediction
from bevdiag.prediction.step_source import EVERY, Recorded, StepSource
from bevdiag.prediction.summary import layers_of, timeline_of
from bevdiag.prediction.target import target_of

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
    trace, expected = step.trace, step.expected
    by_module, first = dict(trace.params_by_module), expected.first_step
    findings, silenced = source.findings(recorded, step)
    return Prediction(
        config=source.name,
        model=source.model,
        target=target_of(step.target),
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
    )
