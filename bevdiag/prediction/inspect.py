"""`bevdiag inspect`: one config, its step traced, simulated, judged and explained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bevdiag.config import read_document
from bevdiag.errors import ConfigError, NoVerdictError
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.profile import MemoryProfile
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import fit_on_gpus, judge
from bevdiag.memory.workspaces import Bound
from bevdiag.models.bev import BevJoint, bev_joint
from bevdiag.prediction.figures import oom_of, target_of
from bevdiag.prediction.measured import measure, measurement_of
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import inspect_source
from bevdiag.prediction.result import Assumption, ConfigReport, InspectReport, Remedy, Scene
from bevdiag.prediction.session import Session, TracedVariant, Variant
from bevdiag.prediction.summary import (
    layers_of,
    peak_of,
    phases_of,
    timeline_of,
    unsplit_bytes,
    with_history,
)
from bevdiag.remedies.search import remedy_goal, search_remedies
from bevdiag.rules.checks import config_findings, sifted, step_findings, stops
from bevdiag.rules.codes import Stage
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding
from bevdiag.trace.data_flow import wiring_of
from bevdiag.trace.kept_voxels import KeptVoxels, Scenario
from bevdiag.trace.step import Trace

Progress = Callable[[str, float], None]

_DECLARED = ("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Simulated:
    """The traces of one variant, and their memory without a limit."""

    traced: TracedVariant
    profiles: Mapping[Scenario, MemoryProfile]

    def trace(self, scenario: Scenario) -> Trace:
        return self.traced.traces.get(scenario, self.traced.traces[Scenario.EXPECTED])


def inspect(
    config: Path, options: InspectOptions, progress: Progress
) -> InspectReport | ConfigReport:
    """Trace the config's training step and tell what it costs, what is wrong, and what helps.

    A config with faults that no step survives is not traced: its findings are all there is.

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
    variant, found = read
    joint = bev_joint(variant.config)
    traceable = _with_channels_that_fit(variant, joint)
    measured = None
    if session.uses_cuda():
        progress("training step on the GPU", 0.02)
        measured = measure(
            traceable,
            session.scene(traceable),
            target,
            seed=options.seed,
            timeout_seconds=options.timeout_seconds,
        )
        session = session.pinned(measured[0].kept_voxels)
    progress("training step", 0.05)
    simulated = _simulate(session.trace(traceable, tuple(Scenario)), target)
    remedies: tuple[Remedy, ...] = ()
    if options.remedies:
        progress("remedies", 0.3)
        goal = remedy_goal(target)
        remedies = search_remedies(
            session, traceable, goal, lambda what, share: progress(what, 0.3 + 0.7 * share)
        )
    traced = _report(str(config), variant, target, joint, simulated, remedies, found)
    stream = simulated.trace(Scenario.EXPECTED).stream
    traced = with_history(traced, options, stream, target)
    if measured is None:
        return traced
    trace = simulated.trace(Scenario.EXPECTED)
    profile = simulated.profiles[Scenario.EXPECTED]
    return replace(traced, device="cuda", measurement=measurement_of(*measured, trace, profile))


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


def _with_channels_that_fit(variant: Variant, joint: BevJoint) -> Variant:
    """The variant itself, or one that declares the channels that arrive."""
    return variant if joint.declared == joint.real else variant.edited({_DECLARED: joint.real})


def _simulate(traced: TracedVariant, target: DeviceTarget) -> _Simulated:
    bounds = {
        Scenario.LOW: Bound.LOW,
        Scenario.EXPECTED: Bound.EXPECTED,
        Scenario.HIGH: Bound.HIGH,
    }
    expected = traced.traces[Scenario.EXPECTED]
    return _Simulated(
        traced=traced,
        profiles={
            scenario: simulate(
                traced.traces.get(scenario, expected).stream, target, until_oom=False, bound=bound
            )
            for scenario, bound in bounds.items()
        },
    )


def _report(
    name: str,
    variant: Variant,
    target: DeviceTarget,
    joint: BevJoint,
    simulated: _Simulated,
    remedies: tuple[Remedy, ...],
    found: tuple[Finding, ...],
) -> InspectReport:
    traced = simulated.traced
    trace, upper_trace = simulated.trace(Scenario.EXPECTED), simulated.trace(Scenario.HIGH)
    expected = simulated.profiles[Scenario.EXPECTED]
    high = simulated.profiles[Scenario.HIGH]
    verdict = judge(
        target,
        trace.stream,
        expected,
        upper_trace.stream,
        high,
        unsplit_bytes=unsplit_bytes(high),
    )
    evidence = StepEvidence(
        document=variant.config.document,
        config=variant.config,
        autocast=variant.autocast,
        optimizer=variant.optimizer,
        batch=traced.batch,
        target=target,
        joint=joint,
        trace=trace,
        profile=expected,
        high=high,
        kept_voxels=traced.kept_voxels,
        verdict=verdict,
    )
    by_module = dict(trace.params_by_module)
    findings, silenced = sifted(
        (*found, *step_findings(evidence)),
        evidence.document,
        *(Stage.CONFIG, Stage.STEP, Stage.TRACE),
    )
    return InspectReport(
        config=name,
        model=variant.config.model.name,
        target=target_of(target),
        device="meta",
        autocast=variant.autocast,
        optimizer=variant.optimizer,
        scene=scene_of(traced),
        params_total=by_module.pop("total"),
        params_by_module=by_module,
        params_without_grad=sum(trace.params_without_grad.values()),
        bev_channels=joint.real,
        peak=peak_of(
            expected,
            simulated.profiles[Scenario.LOW],
            high,
        ),
        first_step_peak_bytes=expected.first_step.allocated_bytes if expected.first_step else 0,
        phases=phases_of(expected),
        timeline=timeline_of(expected),
        layers=layers_of(trace.layers, trace.stream, expected),
        assumptions=assumptions_of(traced.kept_voxels),
        verdict=verdict,
        oom=oom_of(trace, target) or oom_of(upper_trace, target, Bound.HIGH),
        gpus=fit_on_gpus(
            target, trace.stream, upper_trace.stream, unsplit_bytes=unsplit_bytes(high)
        ),
        findings=findings,
        silenced=silenced,
        wiring=wiring_of(trace),
        remedies=remedies,
        remedies_for=target_of(remedy_goal(target)) if remedies else None,
        unmodelled=trace.stream.unmodelled,
        flops=traced.flops,
    )


def scene_of(traced: TracedVariant) -> Scene:
    """The scene as reports show it."""
    batch = traced.batch
    return Scene(
        source=batch.source,
        batch_size=batch.batch_size,
        num_points=len(batch.points),
        num_voxels=batch.num_voxels,
        grid_size=batch.grid_size,
    )


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
