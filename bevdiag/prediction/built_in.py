"""A config whose modules are built in, as a source of its training step.

Tracing it means: voxelize the scene as the config says, settle the counts that depend on values,
build the model on the meta device, and record its training step once a scenario.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from bevdiag import sparse
from bevdiag.config import DetectorConfig, Document, from_document, read_document
from bevdiag.config.backbone_settings import FocalDsvtSettings
from bevdiag.config.data import frame_settings
from bevdiag.errors import ConfigError, NoVerdictError
from bevdiag.memory.requests import Bound
from bevdiag.memory.simulate import walk
from bevdiag.models.builder import build_detector
from bevdiag.models.dense_heads.detections import limits_of
from bevdiag.models.interfaces import (
    PLAIN_BOX_VALUES,
    Changes,
    box_values,
    compression_changes,
    map_input_of,
    uses_direct_table,
)
from bevdiag.prediction.judged import Judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import ConfigReport, Scene
from bevdiag.prediction.scene import SceneSettings, scene_assumption, scene_of
from bevdiag.prediction.step_source import EVERY, ConfigSource, Recorded, Sifted, step_settings
from bevdiag.rules.checks import config_findings, sifted, step_findings, stops, with_fixes
from bevdiag.rules.codes import RuleStage
from bevdiag.rules.finding import StepEvidence
from bevdiag.scenes import Batch
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.failure import failures_reported
from bevdiag.trace.flops import FlopCounter
from bevdiag.trace.inputs import meta_batch
from bevdiag.trace.kept_voxels import KeptVoxels, Scenario, between_ends, settle_kept_voxels
from bevdiag.trace.measure import require_cuda
from bevdiag.trace.pins import Assumption
from bevdiag.trace.settling import settle
from bevdiag.trace.step import FEWEST_STEPS, StepHooks, StepOptions, Trace, trace_steps
from bevdiag.trace.workers import workers

Settled = tuple[Batch, tuple[KeptVoxels, ...]]
_DECLARED = ("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES")


@dataclass(frozen=True, kw_only=True)
class BuiltIn(ConfigSource):
    """The step of a config's built-in modules.

    Attributes:
        declared: the config as it is written, with what the options change.
        config: the same after `edits`.
    """

    UNCHANGED = "none"

    declared: DetectorConfig
    config: DetectorConfig

    @classmethod
    def read(cls, path: Path, options: InspectOptions, repairs: Changes | None = None) -> "BuiltIn":
        """Read the config at `path` with the user's options applied, and `repairs` before them.

        Raises:
            BevdiagError: it or an option cannot be used.
        """
        document = read_document(path, options.overrides)
        config = from_document(path, document.edited(repairs) if repairs else document)
        if options.compression is not None:
            config = config.edited(compression_changes(config, options.compression))
        settings: dict[str, Any] = step_settings(options, config.optimization)
        return cls(
            path=path,
            options=options,
            declared=config,
            config=config,
            edits=dict(repairs or {}),
            **settings,
        )

    @classmethod
    def checked(cls, path: Path, options: InspectOptions) -> "BuiltIn | ConfigReport":
        """Like `read`, but faults that stop every step are findings, all of them.

        Raises:
            BevdiagError: it or an option cannot be used, which no finding says.
        """
        source, refusal = None, None
        try:
            source = cls.read(path, options)
        except (ConfigError, NoVerdictError) as error:
            refusal = error
        config = None if source is None else source.declared
        document = read_document(path, options.overrides) if config is None else config.document
        found = config_findings(document, config, options.data_folder)
        findings, silenced = sifted(found, document, RuleStage.CONFIG)
        # Whoever corrects a config wants every fault of it with its place, not the first alone.
        if stops(findings):
            return ConfigReport(config=str(path), findings=findings, silenced=silenced)
        if source is None:
            assert refusal is not None
            raise refusal
        return source

    @property
    def document(self) -> Document:
        return self.config.document

    @property
    def model(self) -> str:
        return self.config.model.name

    @property
    def bev_channels(self) -> int:
        return map_input_of(self.config).real

    @property
    def scene_settings(self) -> SceneSettings:
        data = self.config.data
        return SceneSettings(
            frame=frame_settings(self.config.document.get("DATA_CONFIG")),
            features=data.point_features,
            point_cloud_range=data.point_cloud_range,
            voxel_size=data.voxel_size,
            grid_size=data.grid_size,
            max_points=data.max_points_per_voxel,
            max_voxels=data.max_test_voxels if self.options.loop.evaluates else data.max_voxels,
            num_classes=len(self.config.class_names),
            box_extras=box_values(self.config.model) - PLAIN_BOX_VALUES,
        )

    def edited(self, changes: Changes) -> "BuiltIn":
        if not changes:
            return self
        edits = {**self.edits, **changes}
        return replace(self, config=self.config.edited(changes), edits=edits)

    def reduced(self, mode: str) -> "BuiltIn":
        return self.edited(compression_changes(self.config, mode))

    def as_it_arrives(self) -> "BuiltIn":
        map_input = map_input_of(self.config)
        return (
            self
            if map_input.declared == map_input.real
            else self.edited({_DECLARED: map_input.real})
        )

    def uses_cuda(self) -> bool:
        """Whether the step is measured on a GPU too.

        Raises:
            InputError: the user asked for a device that is not there.
        """
        if self.options.device == "cuda":
            require_cuda()
        return self.options.device == "cuda" or (
            self.options.device == "auto" and torch.cuda.is_available()
        )

    def pinned(self, counts: Mapping[str, int]) -> "BuiltIn":
        """Return the same with these counts where the user pinned none.

        Args:
            counts: by site and step, see `bevdiag.trace.pins`.
        """
        by_user = {key.partition("@")[0] for key in self.options.pins}
        added = {key: n for key, n in counts.items() if key.partition("@")[0] not in by_user}
        return replace(self, options=replace(self.options, pins={**added, **self.options.pins}))

    def input(self) -> tuple[Scene, tuple[Assumption, ...]]:
        batch, kept = self._settled(Scenario.EXPECTED)
        return scene_of(batch), tuple(site.assumption for site in kept)

    def record(self, scenarios: Sequence[Scenario] = EVERY) -> Recorded:
        """Record the training step in each scenario.

        Raises:
            ChannelMismatch: a module is fed other channels than the config declares.
            NoVerdictError: a layer refuses its input.
        """
        batch, kept = self._settled(Scenario.EXPECTED)
        varied = self.scenes_of_their_own()
        if all(site.is_pinned for site in kept):
            scenarios = [s for s in scenarios if s is Scenario.EXPECTED or s in varied]
        fresh = [
            s for s in scenarios if s in varied and self._counts_key(s) not in self.shared.counts
        ]

        def record(scenario: Scenario) -> tuple[Settled | None, Trace]:
            settled = self._settled(scenario if scenario in varied else Scenario.EXPECTED)
            with failures_reported():
                trace = self._trace(*settled, scenario)
            return settled if scenario in fresh else None, trace

        # Scenes that are still to be made take longest; the denser, the longer.
        order = sorted(scenarios, key=lambda s: (s not in fresh, -EVERY.index(s)))
        found = {}
        with workers(record, timeout_seconds=self.options.timeout_seconds) as traced:
            for scenario, (settled, trace) in zip(order, traced(order), strict=True):
                if settled is not None:  # the variants that come after have what it made
                    key = (self.scene_settings, self.batch_size, scenario)
                    self.shared.batches[key], counts = settled
                    self.shared.counts[self._counts_key(scenario)] = counts
                found[scenario] = trace
                # It will be judged by this walk; others may still be traced.
                bound = Bound(scenario.value)
                walk(trace.stream, self.target(), until_oom=False, bound=bound)
        traces = {s: found[s] for s in scenarios}
        own = {s: self._settled(s) for s in scenarios if s in varied}
        kept = between_ends(kept, {s: counts for s, (_, counts) in own.items()})
        scenes = {s: scene for s, (scene, _) in own.items()}
        return Recorded(
            traces=traces,
            scene=scene_of(batch),
            batch=batch,
            assumptions=(*scene_assumption(scenes), *(site.assumption for site in kept)),
            kept_voxels=kept,
        )

    def findings(self, recorded: Recorded, step: Judged) -> Sifted:
        assert recorded.batch is not None
        document = self.declared.document
        evidence = StepEvidence(
            document=document,
            config=self.declared,
            autocast=self.autocast,
            optimizer=self.optimizer,
            batch=recorded.batch,
            target=step.target,
            map_input=map_input_of(self.declared),
            trace=step.trace,
            profile=step.expected,
            high=step.high,
            kept_voxels=recorded.kept_voxels,
            verdict=step.verdict,
        )
        found = config_findings(document, self.declared, self.options.data_folder)
        stages = (RuleStage.CONFIG, RuleStage.STEP, RuleStage.TRACE)
        found = (*found, *step_findings(evidence))
        return sifted(with_fixes(found, self), document, *stages)

    def _settled(self, scenario: Scenario) -> Settled:
        """Return the scenario's scene, and the counts of it that depend on values."""
        key = self._counts_key(scenario)
        with failures_reported():
            batch = self.batch(scenario)
            if key not in self.shared.counts:
                self.shared.counts[key] = settle_kept_voxels(
                    self.config, batch, seed=self.options.seed, pins=self.options.pins
                )
        return batch, cast(tuple[KeptVoxels, ...], self.shared.counts[key])

    def _counts_key(self, scenario: Scenario) -> object:
        """Return what the counts of a scenario's scene depend on."""
        model = self.config.model
        backbone = model.backbone_3d
        # What DSVT's settings say does not bear on the encoder in front of it.
        decides = backbone.focal_encoder if isinstance(backbone, FocalDsvtSettings) else backbone
        pins = tuple(sorted(self.options.pins.items()))
        return (model.vfe, decides, self.config.data, self.batch_size, pins, scenario)

    def _trace(self, batch: Batch, kept: tuple[KeptVoxels, ...], scenario: Scenario) -> Trace:
        steps = max([1, *(site.num_steps for site in kept)])
        if steps == 1 and self.options.loop.gpus == 1:  # several regroup after the first step
            trace = self._traced(batch, kept, scenario, steps)
            if trace.leftovers is None:
                return trace
        return self._traced(batch, kept, scenario, max(FEWEST_STEPS, steps))

    def _traced(
        self, batch: Batch, kept: tuple[KeptVoxels, ...], scenario: Scenario, num_steps: int
    ) -> Trace:
        """Trace so many steps; the trace keeps its leftovers where one step does not suffice."""
        config = self.config
        step = StepOptions(
            optimization=config.optimization,
            optimizer=self.optimizer,
            autocast=self.autocast,
            num_steps=num_steps,
            target=self.target(),
            loop=self.options.loop,
            replaced=self.options.replaced,
        )
        counter = FlopCounter(step.num_steps)
        direct_table = uses_direct_table(config.model)
        with without_compiler(), sparse.library("meta", direct_table=direct_table) as spconv:
            model = build_detector(
                config.model, config.data, config.class_names, spconv=spconv, device="meta"
            )

            def begin_step(step: int) -> None:
                for site in kept:
                    site.apply(model, scenario, step)

            model.dense_head.limits = limits_of(self.document)
            hooks = StepHooks(around=counter.around, begin_step=begin_step)
            labelled = not step.loop.evaluates
            trace = trace_steps(model, meta_batch(batch, labelled=labelled), step, hooks)
        return replace(settle(trace), flops=counter.flops)
