"""`bevdiag inspect --source`: the model of a repository, built and run by its own code."""

from collections.abc import Callable
from pathlib import Path

import torch

from bevdiag.config.data import frames_of, shuffles_points, stored_features_of
from bevdiag.diagnose.checks import data_root_of, sifted, source_findings, step_findings
from bevdiag.diagnose.codes import CODES, Stage
from bevdiag.diagnose.evidence import TraceEvidence
from bevdiag.diagnose.figures import oom_of, target_of
from bevdiag.diagnose.result import (
    Assumption,
    ConfigReport,
    Finding,
    InspectOptions,
    InspectReport,
    Scene,
)
from bevdiag.diagnose.rules import repository_stood_in_for
from bevdiag.diagnose.session import BOXES_PER_SAMPLE
from bevdiag.diagnose.summary import (
    layers_of,
    peak_of,
    phases_of,
    timeline_of,
    unsplit_bytes,
    with_history,
)
from bevdiag.diagnose.verdict import fit_on_gpus, judge
from bevdiag.diagnose.wiring import wiring_of
from bevdiag.errors import NoVerdictError
from bevdiag.memory.device import DeviceTarget, make_target
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
from bevdiag.scenes import Batch, Layout, chosen_samples, make_batch
from bevdiag.source import SourceSettings, SourceTrace, read_source_config, trace_source
from bevdiag.source.values import Scenario

Progress = Callable[[str, float], None]


def inspect_source(
    config: Path, source: Path, options: InspectOptions, progress: Progress
) -> InspectReport | ConfigReport:
    """Trace the repository's own model and tell what its training step costs.

    This runs the code in `source`. Remedies are edits of modules that bevdiag knows, so there are
    none here.

    Raises:
        BevdiagError: a config, point file or option that cannot be used, or code that fails.
    """
    torch.set_num_threads(1)
    settings = read_source_config(config, options.overrides)
    batch = source_batch(settings, options)
    target = make_target(
        torch=options.torch or torch.__version__,
        gpu=options.gpu,
        budget_bytes=options.budget_bytes,
        cudnn=options.cudnn,
        profile=options.profile,
        cudnn_benchmark=options.cudnn_benchmark,
    )
    progress("training step", 0.1)
    autocast = options.autocast or ("fp16" if settings.optimization.use_amp else "off")
    optimizer = options.optimizer or settings.optimization.optimizer
    traced = _trace(config, source, settings, batch, options, autocast, optimizer)
    if isinstance(traced, ConfigReport):
        return traced
    found = source_findings(settings.document, data_root_of(options), ran=True)
    report = _report(config, settings, batch, target, traced, autocast, optimizer, found)
    return with_history(report, options, traced.trace.stream, target)


def _trace(
    config: Path,
    source: Path,
    settings: SourceSettings,
    batch: Batch,
    options: InspectOptions,
    autocast: str,
    optimizer: str,
) -> SourceTrace | ConfigReport:
    """The repository's step, or the fault of the config that explains why its code failed."""
    try:
        return trace_source(
            config,
            source,
            batch=batch,
            autocast=autocast,
            optimizer=optimizer,
            overrides=options.overrides,
            assumptions=options.pins,
            timeout_seconds=options.timeout_seconds,
        )
    except NoVerdictError as refusal:
        document = settings.document
        found = source_findings(document, data_root_of(options), ran=False)
        findings, silenced = sifted(found, document, Stage.CONFIG)
        if not any(CODES[finding.code].stops for finding in findings):
            raise
        return ConfigReport(
            config=str(config), findings=findings, silenced=silenced, refusal=str(refusal)
        )


def source_target(options: InspectOptions) -> DeviceTarget:
    """The GPU and versions that the user named."""
    return make_target(
        torch=torch.__version__,
        gpu=options.gpu,
        budget_bytes=options.budget_bytes,
        cudnn=options.cudnn,
        profile=options.profile,
        cudnn_benchmark=options.cudnn_benchmark,
    )


def source_batch(settings: SourceSettings, options: InspectOptions) -> Batch:
    """The user's points or a made-up scene, voxelized as the repository's config says."""
    size = options.batch_size or settings.optimization.batch_size_per_gpu
    written = settings.document.get("DATA_CONFIG")
    samples, source = chosen_samples(
        options.points,
        Layout(
            features=settings.point_features,
            point_cloud_range=settings.point_cloud_range,
            stored=stored_features_of(written),
            shuffled=shuffles_points(written) and not options.in_file_order,
            columns=options.point_columns,
            dtype=options.point_dtype,
        ),
        size,
        dataset=str(settings.document.get("DATA_CONFIG.DATASET") or ""),
        frames=frames_of(written),
        seed=options.seed,
    )
    return make_batch(
        samples,
        point_cloud_range=settings.point_cloud_range,
        voxel_size=settings.voxel_size or (1.0, 1.0, 1.0),
        grid_size=settings.grid_size or (1, 1, 1),
        max_points=settings.max_points,
        max_voxels=settings.max_voxels,
        num_boxes=BOXES_PER_SAMPLE,
        num_classes=len(settings.class_names),
        seed=options.seed,
        source=source,
    )


def _report(
    config: Path,
    settings: SourceSettings,
    batch: Batch,
    target: DeviceTarget,
    traced: SourceTrace,
    autocast: str,
    optimizer: str,
    found: tuple[Finding, ...],
) -> InspectReport:
    trace = traced.trace
    low_trace = traced.scenarios.get(Scenario.LOW, trace)
    high_trace = traced.scenarios.get(Scenario.HIGH, trace)
    expected = simulate(trace.stream, target, until_oom=False)
    low = simulate(low_trace.stream, target, until_oom=False, bound=Bound.LOW)
    high = simulate(high_trace.stream, target, until_oom=False, bound=Bound.HIGH)
    verdict = judge(
        target,
        trace.stream,
        expected,
        high_trace.stream,
        high,
        unsplit_bytes=unsplit_bytes(high),
    )
    by_module = dict(traced.params_by_module)
    evidence = TraceEvidence(
        document=settings.document,
        autocast=autocast,
        optimizer=optimizer,
        target=target,
        trace=trace,
        profile=expected,
        high=high,
        verdict=verdict,
    )
    findings, silenced = sifted(
        (*found, *step_findings(evidence), *repository_stood_in_for.check(traced.findings)),
        settings.document,
        *(Stage.CONFIG, Stage.TRACE, Stage.SOURCE),
    )
    return InspectReport(
        config=str(config),
        model=str(settings.document.get("MODEL.NAME") or ""),
        target=target_of(target),
        device="meta",
        autocast=autocast,
        optimizer=optimizer,
        scene=Scene(
            source=batch.source,
            batch_size=batch.batch_size,
            num_points=len(batch.points),
            num_voxels=batch.num_voxels,
            grid_size=batch.grid_size,
        ),
        params_total=by_module.pop("total"),
        params_by_module=by_module,
        params_without_grad=sum(trace.params_without_grad.values()),
        bev_channels=None,
        peak=peak_of(expected, low, high),
        first_step_peak_bytes=expected.first_step.allocated_bytes if expected.first_step else 0,
        phases=phases_of(expected),
        timeline=timeline_of(expected),
        layers=layers_of(trace.layers, trace.stream, expected),
        assumptions=tuple(
            Assumption(
                site=site.site,
                low=site.low,
                expected=site.expected,
                high=site.high,
                used=site.used,
                why=site.why,
            )
            for site in traced.assumptions
        ),
        verdict=verdict,
        oom=oom_of(trace, target) or oom_of(high_trace, target, Bound.HIGH),
        gpus=fit_on_gpus(
            target, trace.stream, high_trace.stream, unsplit_bytes=unsplit_bytes(high)
        ),
        findings=findings,
        silenced=silenced,
        wiring=wiring_of(trace),
        remedies=(),
        unmodelled=traced.unmodelled,
    )
