"""`bevdiag inspect`: one config, its step traced, simulated, judged and explained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from bevdiag.config import read_document
from bevdiag.errors import ConfigError, NoVerdictError
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.verdict import Verdict
from bevdiag.models.bev import bev_joint
from bevdiag.prediction.built_in import Session, TracedVariant, Variant, channels_that_arrive
from bevdiag.prediction.compressions import Changes
from bevdiag.prediction.figures import batch_scene
from bevdiag.prediction.judged import Judged, judged
from bevdiag.prediction.measured import measure, measurement_of
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.plan import Plan
from bevdiag.prediction.predicted import prediction_of
from bevdiag.prediction.repository import inspect_source
from bevdiag.prediction.result import Assumption, ConfigReport, Prediction, Scene
from bevdiag.prediction.summary import (
    with_history,
)
from bevdiag.rules.checks import config_findings, sifted, step_findings, stops
from bevdiag.rules.codes import Stage
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding
from bevdiag.trace.kept_voxels import KeptVoxels, Scenario

Progress = Callable[[str, float], None]


class Found(Protocol):
    """What a search for plans came to; see `bevdiag.remedies.search.Plans`."""

    @property
    def singles(self) -> tuple[Plan, ...]: ...
    @property
    def combined(self) -> tuple[Plan, ...]: ...
    @property
    def chosen(self) -> Plan | None: ...


Search = Callable[[Session, Variant, Changes, DeviceTarget, TracedVariant, Progress], Found]
"""Searches the session for plans with which the traced variant, made by these edits, fits."""


def inspect(
    config: Path, options: InspectOptions, progress: Progress, search: Search | None = None
) -> Prediction | ConfigReport:
    """Trace the config's training step and tell what it costs, what is wrong, and what helps.

    A config with faults that no step survives is not traced: its findings are all there is.
    Plans are searched for with `search`, where there is a budget that the step may not fit.

    Raises:
        BevdiagError: a config, point file or option that cannot be used.
    """
    if options.source is not None:
        return inspect_source(config, Path(options.source), options, progress)
    session = Session(options)
    target = session.target()
    read = _read(session, config, options)
    if isinstance(read, ConfigReport):
        return read
    declared, found = read
    arriving = channels_that_arrive(declared)
    variant = declared.edited(arriving)
    measured = None
    if session.uses_cuda():
        progress("training step on the GPU", 0.02)
        measured = measure(
            variant,
            session.scene(variant),
            target,
            seed=options.seed,
            timeout_seconds=options.timeout_seconds,
        )
        session = session.pinned(measured[0].kept_voxels)
    progress("training step", 0.05)
    traced = session.trace(variant, tuple(Scenario))
    step = judged(traced.traces, target)
    report = _report(str(config), declared, step, traced, found)
    if search is not None and _wants_plans(options, step):
        progress("remedies", 0.3)
        plans = search(
            session,
            variant,
            arriving,
            target,
            traced,
            lambda what, share: progress(what, 0.3 + 0.7 * share),
        )
        report = replace(
            report, remedies=(*plans.singles, *plans.combined), recommended=plans.chosen
        )
    report = with_history(report, options, step.trace.stream, target)
    if measured is None:
        return report
    measurement = measurement_of(*measured, step.trace, step.expected)
    return replace(report, device="cuda", measurement=measurement)


def _wants_plans(options: InspectOptions, step: Judged) -> bool:
    """Whether plans are asked for: without a word, where the step may not fit."""
    if options.remedies is None:
        return step.verdict in (Verdict.OVER, Verdict.DEPENDS)
    return options.remedies and step.target.capacity_bytes is not None


def _read(
    session: Session, path: Path, options: InspectOptions
) -> tuple[Variant, tuple[Finding, ...]] | ConfigReport:
    """The variant to trace and what is found in its config, or why there is nothing to trace."""
    variant, refusal = None, None
    try:
        variant = session.variant(path)
    except (ConfigError, NoVerdictError) as error:
        refusal = error
    config = variant.config if variant is not None else None
    document = config.document if config is not None else read_document(path, options.overrides)
    found = config_findings(document, config, options.data_folder)
    findings, silenced = sifted(found, document, Stage.CONFIG)
    # Whoever mends a config wants every fault of it told with its place, not the first alone.
    if stops(findings):
        return ConfigReport(config=str(path), findings=findings, silenced=silenced)
    if variant is None:
        assert refusal is not None
        raise refusal
    return variant, found


def _report(
    name: str,
    declared: Variant,
    step: Judged,
    traced: TracedVariant,
    found: tuple[Finding, ...],
) -> Prediction:
    joint = bev_joint(declared.config)
    evidence = StepEvidence(
        document=declared.config.document,
        config=declared.config,
        autocast=declared.autocast,
        optimizer=declared.optimizer,
        batch=traced.batch,
        target=step.target,
        joint=joint,
        trace=step.trace,
        profile=step.expected,
        high=step.high,
        kept_voxels=traced.kept_voxels,
        verdict=step.verdict,
    )
    findings, silenced = sifted(
        (*found, *step_findings(evidence)),
        evidence.document,
        *(Stage.CONFIG, Stage.STEP, Stage.TRACE),
    )
    return prediction_of(
        step,
        config=name,
        model=declared.config.model.name,
        autocast=declared.autocast,
        optimizer=declared.optimizer,
        scene=scene_of(traced),
        bev_channels=joint.real,
        assumptions=assumptions_of(traced.kept_voxels),
        findings=findings,
        silenced=silenced,
        flops=traced.flops,
    )


def scene_of(traced: TracedVariant) -> Scene:
    """The scene as reports show it."""
    return batch_scene(traced.batch)


def assumptions_of(kept: tuple[KeptVoxels, ...]) -> tuple[Assumption, ...]:
    """Every count that depends on values."""
    return tuple(
        Assumption(
            site=site.site,
            low=site.low,
            expected=site.expected,
            high=site.high,
            used=site.used,
            why=site.why,
        )
        for site in kept
    )
