"""`bevdiag inspect --source`: the model of a repository, built and run by its own code."""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bevdiag.config.data import frames_of, pasted_classes_of, shuffles_points, stored_features_of
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.compressions import MODES
from bevdiag.prediction.figures import batch_scene, scene_assumption
from bevdiag.prediction.judged import judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import prediction_of
from bevdiag.prediction.result import ConfigReport, Prediction, Scene
from bevdiag.prediction.session import BOXES_PER_SAMPLE
from bevdiag.prediction.summary import (
    with_history,
)
from bevdiag.prediction.target import device_target
from bevdiag.rules import repository_stood_in_for, unknown_key
from bevdiag.rules.checks import sifted, source_findings, step_findings
from bevdiag.rules.codes import Stage
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding
from bevdiag.scenes import Batch, Layout, Scenario, Wanted, make_batch
from bevdiag.scenes.arrays import Points
from bevdiag.source import SourceSettings, SourceTrace, read_source_config, trace_source

Progress = Callable[[str, float], None]
AS_IT_IS = "as configured"
"""The row of the config's own module."""
_PACKAGE = Path("pcdet/models/backbones_2d/map_to_bev/__init__.py")


def inspect_source(
    config: Path, source: Path, options: InspectOptions, progress: Progress
) -> Prediction | ConfigReport:
    """Trace the repository's own model and tell what its training step costs.

    This runs the code in `source`. Remedies are edits of modules that bevdiag knows, so there are
    none here.

    Raises:
        BevdiagError: a config, point file or option that cannot be used, or code that fails.
    """
    torch.set_num_threads(1)
    options = with_module(options)
    settings = read_source_config(config, options.overrides, options.loop.split)
    scenes = source_scenes(settings, options)
    target = device_target(options, torch.__version__)
    progress("training step", 0.1)
    autocast = options.autocast or ("fp16" if settings.optimization.use_amp else "off")
    optimizer = options.optimizer or settings.optimization.optimizer
    traced = _trace(config, source, settings, scenes, options, autocast, optimizer, target)
    if isinstance(traced, ConfigReport):
        return traced
    found = source_findings(settings.document, options.data_folder, ran=True)
    report = _report(config, settings, scenes, target, traced, autocast, optimizer, found)
    return with_history(report, options, traced.trace.stream, target)


def _trace(
    config: Path,
    source: Path,
    settings: SourceSettings,
    scenes: Mapping[Scenario, Batch],
    options: InspectOptions,
    autocast: str,
    optimizer: str,
    target: DeviceTarget,
) -> SourceTrace | ConfigReport:
    """The repository's step, or the fault of the config that explains why its code failed."""
    try:
        return trace_source(
            config,
            source,
            scenes=scenes,
            autocast=autocast,
            optimizer=optimizer,
            overrides=options.overrides,
            assumptions=options.pins,
            target=target,
            timeout_seconds=options.timeout_seconds,
            rehearses=options.rehearses,
            loop=options.loop,
        )
    except NoVerdictError as refusal:
        document = settings.document
        found = source_findings(document, options.data_folder, ran=False, failure=str(refusal))
        findings, silenced = sifted(found, document, Stage.CONFIG)
        if not any(finding.stops for finding in findings):
            raise
        return ConfigReport(
            config=str(config), findings=findings, silenced=silenced, refusal=str(refusal)
        )


def source_scenes(settings: SourceSettings, options: InspectOptions) -> dict[Scenario, Batch]:
    """The user's points or synthetic scenes, voxelized as the repository's config says.

    Always the expected one; the others where they differ from it.
    """
    size = options.batch_size or settings.optimization.batch_size_per_gpu
    written = settings.document.get("DATA_CONFIG")
    wanted = Wanted(
        files=options.points,
        scene=options.scene,
        layout=Layout(
            features=settings.point_features,
            point_cloud_range=settings.point_cloud_range,
            stored=stored_features_of(written),
            shuffled=shuffles_points(written) and not options.in_file_order,
            columns=options.point_columns,
            dtype=options.point_dtype,
        ),
        batch_size=size,
        dataset=str(settings.document.get("DATA_CONFIG.DATASET") or ""),
        frames=frames_of(written),
        pasted=pasted_classes_of(written),
        seed=options.seed,
    )
    # A count that the user pinned is one of the expected scene.
    scenarios = (Scenario.EXPECTED,) if options.pins else wanted.scenarios
    return {s: _batch(settings, options, *wanted.samples(s)) for s in scenarios}


def _batch(
    settings: SourceSettings, options: InspectOptions, samples: Sequence[Points], source: str
) -> Batch:
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
    scenes: Mapping[Scenario, Batch],
    target: DeviceTarget,
    traced: SourceTrace,
    autocast: str,
    optimizer: str,
    found: tuple[Finding, ...],
) -> Prediction:
    step = judged({Scenario.EXPECTED: traced.trace, **traced.scenarios}, target)
    evidence = TraceEvidence(
        document=settings.document,
        autocast=autocast,
        optimizer=optimizer,
        target=target,
        trace=step.trace,
        profile=step.expected,
        high=step.high,
        verdict=step.verdict,
    )
    findings, silenced = sifted(
        (
            *found,
            *unknown_key.unread(settings.document, traced.unread),
            *step_findings(evidence),
            *repository_stood_in_for.check(traced.findings),
        ),
        settings.document,
        *(Stage.CONFIG, Stage.TRACE, Stage.SOURCE),
    )
    return prediction_of(
        step,
        config=str(config),
        model=str(settings.document.get("MODEL.NAME") or ""),
        autocast=autocast,
        optimizer=optimizer,
        scene=_scene(scenes[Scenario.EXPECTED], traced),
        assumptions=scene_assumption(scenes) + traced.assumptions,
        findings=findings,
        silenced=silenced,
        unmodelled=traced.unmodelled,
    )


def _scene(batch: Batch, traced: SourceTrace) -> Scene:
    """The scene, with points and voxels as the repository's own data pipeline left them."""
    scene = batch_scene(batch)
    return replace(
        scene,
        num_points=scene.num_points if traced.num_points is None else traced.num_points,
        num_voxels=scene.num_voxels if traced.num_voxels is None else traced.num_voxels,
    )


def with_module(options: InspectOptions) -> InspectOptions:
    """The options with the override that their --compression stands for.

    Raises:
        InputError: the repository has no such module.
    """
    if options.source is None or options.compression is None:
        return options
    edits = module_edits(options.compression, Path(options.source))
    return replace(options, compression=None, overrides=(*options.overrides, *edits))


def module_edits(module: str, source: Path) -> tuple[str, ...]:
    """The overrides that take the config to this way to the BEV map.

    Raises:
        InputError: the repository has no such module.
    """
    if module == AS_IT_IS:
        return ()
    known = map_to_bev_modules(source)
    if module in known:
        return (f"MODEL.MAP_TO_BEV.NAME={module}",)
    has = f"this repository has {', '.join(known)}" if known else "this repository names none"
    whose = "is a mode of bevdiag's own module" if module in MODES else "is no module here"
    raise InputError(f"--compression {module} {whose}; {has}")


def map_to_bev_modules(source: Path) -> tuple[str, ...]:
    """The names under which the repository registers its ways to the BEV map; nothing is run."""
    file = source / _PACKAGE
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ()
    registered = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    return tuple(
        key.value
        for value in registered
        if isinstance(value, ast.Dict)
        for key in value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    )
