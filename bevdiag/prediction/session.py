"""One user's question, and the traced answers to it and to its variations.

Tracing a variant means: voxelize the scene as its config says, settle the counts that depend on
values, build the model on the meta device, and record its training step once a scenario.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from bevdiag import sparse
from bevdiag.config import DetectorConfig, from_document, read_document
from bevdiag.config.settings import FocalDsvtSettings
from bevdiag.memory.device import DeviceTarget
from bevdiag.models.bev import bev_joint
from bevdiag.models.builder import build_detector
from bevdiag.models.wiring import PLAIN_BOX_VALUES, box_values, uses_direct_table
from bevdiag.prediction.compressions import Changes, compression_changes
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.target import device_target
from bevdiag.scenes import Batch, Layout, Wanted, make_batch
from bevdiag.trace.failure import failures_told
from bevdiag.trace.flops import FlopCounter
from bevdiag.trace.inputs import meta_batch
from bevdiag.trace.kept_voxels import KeptVoxels, Scenario, settle_kept_voxels
from bevdiag.trace.measure import require_cuda
from bevdiag.trace.scenarios import between_ends
from bevdiag.trace.settling import settle
from bevdiag.trace.step import FEWEST_STEPS, Customs, StepOptions, Trace, trace_steps
from bevdiag.trace.workers import workers

DECLARED = ("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES")
BOXES_PER_SAMPLE = 25
"""Ground-truth boxes a made-up sample carries; they cost next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A config and the settings beside it that decide a step's memory."""

    config: DetectorConfig
    batch_size: int
    autocast: str
    optimizer: str

    def edited(self, changes: dict[tuple[str, ...], object]) -> "Variant":
        """The same with changed keys in the config."""
        return replace(self, config=self.config.edited(changes)) if changes else self


def channels_that_arrive(variant: Variant) -> Changes:
    """NUM_BEV_FEATURES as it arrives, where the config declares another: no step runs before."""
    joint = bev_joint(variant.config)
    return {} if joint.declared == joint.real else {DECLARED: joint.real}


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedVariant:
    """A variant with its scene, its unsettled counts and one trace a scenario.

    `scenes` has those of the scenarios that were traced with a scene of their own. `flops` are what
    one step computes in the expected scenario (see `trace/flops.py`), 0 before it is traced.
    """

    variant: Variant
    batch: Batch
    kept_voxels: tuple[KeptVoxels, ...]
    traces: dict[Scenario, Trace]
    scenes: Mapping[Scenario, Batch] = field(default_factory=dict)
    flops: int = 0


@dataclass(slots=True)
class Session:
    """Answers questions about variants; scenes and sampled decisions are made once and shared."""

    options: InspectOptions

    _scenes: dict[tuple[object, ...], Batch] = field(default_factory=dict)
    _sites: dict[tuple[object, ...], tuple[KeptVoxels, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The CPU's share of a trace is many small products; a pool of threads that waits for its
        # slowest member makes them slower, many times so on a machine that has other work.
        torch.set_num_threads(1)

    def variant(self, path: Path, repairs: Changes | None = None) -> Variant:
        """The config at `path` with the user's options applied, and `repairs` before them."""
        options = self.options
        document = read_document(path, options.overrides)
        config = from_document(path, document.edited(repairs) if repairs else document)
        if options.compression is not None:
            config = config.edited(compression_changes(config, options.compression))
        optimization = config.optimization
        return Variant(
            config=config,
            batch_size=options.batch_size or optimization.batch_size_per_gpu,
            autocast=options.autocast or ("fp16" if optimization.use_amp else "off"),
            optimizer=options.optimizer or optimization.optimizer,
        )

    def traceable(self, path: Path) -> Variant:
        """The variant with the channels that arrive, where it declares others for the BEV map."""
        variant = self.variant(path)
        return variant.edited(channels_that_arrive(variant))

    def target(self) -> DeviceTarget:
        """The GPU and versions that the user named."""
        return device_target(self.options, torch.__version__)

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

    def pinned(self, counts: Mapping[str, int]) -> "Session":
        """A session that takes these counts where the user pinned none.

        Args:
            counts: by site and step, see `bevdiag.trace.pins`.
        """
        by_user = {key.partition("@")[0] for key in self.options.pins}
        added = {key: n for key, n in counts.items() if key.partition("@")[0] not in by_user}
        pins = {**added, **self.options.pins}
        return Session(replace(self.options, pins=pins), self._scenes)

    def trace(self, variant: Variant, scenarios: Sequence[Scenario]) -> TracedVariant:
        """Record the variant's training step in each scenario.

        Raises:
            ChannelMismatch: a module is fed other channels than the config declares.
            NoVerdictError: a layer refuses its input.
        """
        settled = self.settled(variant)
        varied = self.wanted(variant).scenarios if not self.options.pins else ()
        if all(site.is_pinned for site in settled.kept_voxels):
            scenarios = [s for s in scenarios if s is Scenario.EXPECTED or s in varied]
        own = {s: self.settled(variant, s) for s in scenarios if s in varied}

        def record(scenario: Scenario) -> tuple[Trace, int]:
            scene = own.get(scenario, settled)
            with failures_told():
                return self._trace(variant, scene.batch, scene.kept_voxels, scenario)

        with workers(record, timeout_seconds=self.options.timeout_seconds) as traced:
            recorded = dict(zip(scenarios, traced(scenarios), strict=True))
        flops = recorded[Scenario.EXPECTED][1] if Scenario.EXPECTED in recorded else 0
        traces = {scenario: trace for scenario, (trace, _) in recorded.items()}
        ends = {s: scene.kept_voxels for s, scene in own.items()}
        return replace(
            settled,
            kept_voxels=between_ends(settled.kept_voxels, ends),
            traces=traces,
            scenes={s: scene.batch for s, scene in own.items()},
            flops=flops,
        )

    def settled(self, variant: Variant, scenario: Scenario = Scenario.EXPECTED) -> TracedVariant:
        """The variant's scene and counts, not traced yet."""
        with failures_told():
            batch = self.scene(variant, scenario)
            kept = self._kept_voxels(variant, batch, scenario)
        return TracedVariant(variant=variant, batch=batch, kept_voxels=kept, traces={})

    def scene(self, variant: Variant, scenario: Scenario = Scenario.EXPECTED) -> Batch:
        """The variant's batch: the user's points or a synthetic scene, voxelized as it says."""
        data, classes = variant.config.data, variant.config.class_names
        key = (data, variant.batch_size, box_values(variant.config.model), scenario)
        if key not in self._scenes:
            samples, source = self.wanted(variant).samples(scenario)
            self._scenes[key] = make_batch(
                samples,
                point_cloud_range=data.point_cloud_range,
                voxel_size=data.voxel_size,
                grid_size=data.grid_size,
                max_points=data.max_points_per_voxel,
                max_voxels=data.max_voxels,
                num_boxes=BOXES_PER_SAMPLE,
                num_classes=len(classes),
                seed=self.options.seed,
                source=source,
                box_extras=box_values(variant.config.model) - PLAIN_BOX_VALUES,
            )
        return self._scenes[key]

    def wanted(self, variant: Variant) -> Wanted:
        """What the clouds of the variant's batch are to be."""
        data = variant.config.data
        return Wanted(
            files=self.options.points,
            scene=self.options.scene,
            layout=Layout(
                features=data.point_features,
                point_cloud_range=data.point_cloud_range,
                stored=data.stored_features,
                shuffled=data.shuffles_points and not self.options.in_file_order,
                columns=self.options.point_columns,
                dtype=self.options.point_dtype,
            ),
            batch_size=variant.batch_size,
            dataset=data.dataset,
            frames=data.frames,
            pasted=data.pasted_classes,
            seed=self.options.seed,
        )

    def _kept_voxels(
        self, variant: Variant, batch: Batch, scenario: Scenario
    ) -> tuple[KeptVoxels, ...]:
        model = variant.config.model
        backbone = model.backbone_3d
        # What DSVT's settings say does not bear on the encoder in front of it.
        decides = backbone.focal_encoder if isinstance(backbone, FocalDsvtSettings) else backbone
        key = (model.vfe, decides, variant.config.data, batch.batch_size, scenario)
        if key not in self._sites:
            self._sites[key] = settle_kept_voxels(
                variant.config, batch, seed=self.options.seed, pins=self.options.pins
            )
        return self._sites[key]

    def _trace(
        self,
        variant: Variant,
        batch: Batch,
        kept: tuple[KeptVoxels, ...],
        scenario: Scenario,
    ) -> tuple[Trace, int]:
        """The recorded step and its floating point operations."""
        config = variant.config
        step = StepOptions(
            optimization=config.optimization,
            optimizer=variant.optimizer,
            autocast=variant.autocast,
            num_steps=max([FEWEST_STEPS, *(site.num_steps for site in kept)]),
            target=self.target(),
            loop=self.options.loop,
        )
        counter = FlopCounter(step.num_steps)
        direct_table = uses_direct_table(config.model)
        with sparse.library("meta", direct_table=direct_table) as spconv:
            model = build_detector(
                config.model, config.data, config.class_names, spconv=spconv, device="meta"
            )

            def begin_step(step: int) -> None:
                for site in kept:
                    site.apply(model, scenario, step)

            customs = Customs(around=counter.around, begin_step=begin_step)
            trace = trace_steps(model, meta_batch(batch), step, customs)
        return settle(trace), counter.flops
