"""`bevdiag inspect`: one config, its step predicted, and what helps where it does not fit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bevdiag.errors import BevdiagError, NoVerdictError
from bevdiag.memory.loop import Loop
from bevdiag.memory.simulate import reserved_after
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.judged import Judged, judged
from bevdiag.prediction.measured import measure, measurement_of
from bevdiag.prediction.options import InspectOptions, Progress
from bevdiag.prediction.predicted import kind_of, predict, prediction_of, source_of
from bevdiag.prediction.result import ConfigReport, Evaluation, Plans, Prediction
from bevdiag.prediction.step_source import ConfigSource, Recorded
from bevdiag.trace.step import Trace

Search = Callable[[ConfigSource, Recorded, Progress], Plans]
"""Searches for plans with which a source's recorded step fits."""


def inspect(
    config: Path,
    options: InspectOptions,
    progress: Progress,
    search: Search | None = None,
    *,
    judged_so: Callable[[Prediction], None] | None = None,
) -> Prediction | ConfigReport:
    """Trace the config's training step and say what it costs, what is wrong, and what helps.

    A config with faults that stop every step is not traced: its findings are all there is.
    Plans are searched for with `search`, where there is a budget that the step may not fit;
    `judged_so` hears the prediction before that.

    Raises:
        BevdiagError: a config, point file or option that cannot be used, or code that fails.
    """
    if options.entry is not None:
        from bevdiag.prediction.entry import EntrySource  # stubs for all that user code imports

        source_of_entry = EntrySource.read(config, options)
        progress("training step", 0.05)
        return predict(source_of_entry)
    declared = kind_of(options).checked(config, options)
    if isinstance(declared, ConfigReport):
        return declared
    source = declared.as_it_arrives()
    measured = None
    if source.uses_cuda():
        assert isinstance(source, BuiltIn)
        progress("training step on the GPU", 0.02)
        measured = measure(source)
        source = source.pinned(measured[0].kept_voxels)
    progress("training step", 0.05)
    try:
        recorded = source.record()
    except NoVerdictError as refusal:
        fault = source.fault_behind(refusal)
        if fault is None:
            raise
        return fault
    progress("simulating the allocator", 0.25)
    step = judged(recorded.traces, source.target())
    report = replace(prediction_of(source, recorded, step), bev_channels=declared.bev_channels)
    if search is not None and _wants_plans(options, step):
        if judged_so is not None:
            judged_so(report)
        plans = search(
            source,
            recorded,
            lambda what, share: progress(f"remedies: {what}", 0.3 + 0.7 * share),
        )
        report = replace(
            report, remedies=(*plans.singles, *plans.combined), recommended=plans.chosen
        )
    if options.evaluation and not options.loop.evaluates:
        progress("evaluation step", 0.95)
        report = replace(report, evaluation=_evaluation(config, options, step.trace))
    if measured is None:
        return report
    measurement = measurement_of(*measured, step.trace, step.expected)
    return replace(report, device="cuda", measurement=measurement)


def _evaluation(config: Path, options: InspectOptions, training: Trace) -> Evaluation:
    """Return the evaluation step that follows such a training, alone and in its process."""
    loop = Loop(gpus=options.loop.gpus, evaluates=True)
    try:
        source = source_of(config, replace(options, loop=loop)).as_it_arrives()
        step = judged(source.record().traces, source.target())
    except BevdiagError as refusal:
        return Evaluation(refusal=str(refusal))
    return Evaluation(
        allocated_bytes=step.expected.peak.allocated_bytes,
        high_bytes=step.high_bytes,
        after_bytes=reserved_after(training.stream, step.trace.stream, step.target),
    )


def _wants_plans(options: InspectOptions, step: Judged) -> bool:
    """Whether plans are asked for: without a word, where the step may not fit."""
    if options.remedies is None:
        return step.verdict in (Verdict.OVER, Verdict.DEPENDS)
    return options.remedies and step.target.capacity_bytes is not None
