"""A repository's own code as a source of its training step.

This runs that code, in a child process.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bevdiag.config import Document
from bevdiag.config.data import frame_settings
from bevdiag.config.edits import flow
from bevdiag.errors import InputError
from bevdiag.models.interfaces import MODES, Changes
from bevdiag.prediction.judged import Judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import ConfigReport, Scene
from bevdiag.prediction.scene import SceneSettings, scene_assumption
from bevdiag.prediction.step_source import EVERY, ConfigSource, Recorded, Sifted, step_settings
from bevdiag.rules.checks import GROUPS, sifted, source_findings, step_findings, with_fixes
from bevdiag.rules.codes import RuleStage
from bevdiag.rules.finding import TraceEvidence
from bevdiag.rules.keys_and_names import unread
from bevdiag.rules.traced import repository_stubbed
from bevdiag.scenes import Batch
from bevdiag.source import (
    SavedBatch,
    SourceSettings,
    read_saved_batch,
    read_settings,
    trace_step,
)
from bevdiag.source.dialects import dialect_of
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.pins import Assumption
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring import Wiring

_PACKAGE = Path("pcdet/models/backbones_2d/map_to_bev/__init__.py")


@dataclass(frozen=True, kw_only=True)
class Repository(ConfigSource):
    """The step of a repository's own model.

    Attributes:
        root: the folder of the repository.
        settings: what the config says, edits included.
        overrides: ``KEY=value`` texts: the user's, those of --compression, and the edits.
        saved: the batch that the user saved, None where the scene makes it.
    """

    UNCHANGED = "as configured"

    root: Path
    settings: SourceSettings
    overrides: tuple[str, ...]
    saved: SavedBatch | None = None

    @classmethod
    def read(
        cls, path: Path, options: InspectOptions, repairs: Changes | None = None
    ) -> "Repository":
        """Read the config at `path` with the user's options applied; no code of it is run yet.

        Raises:
            BevdiagError: it or an option cannot be used.
        """
        assert options.source is not None
        source, overrides = Path(options.source), options.overrides
        if not source.is_dir():
            raise InputError(f"--source {source}: there is no such folder")
        if options.compression is not None:
            module = require_module(options.compression, source)
            overrides = (*overrides, f"MODEL.MAP_TO_BEV.NAME={module}")
        settings = read_settings(path, source, overrides, options.loop.split)
        chosen: dict[str, Any] = step_settings(options, settings.optimization)
        saved = None
        if options.batch is not None:
            saved = read_saved_batch(options.batch, options.batch_size)
            chosen["batch_size"] = saved.batch_size
        return cls(
            path=path,
            options=options,
            root=source,
            settings=settings,
            overrides=overrides,
            saved=saved,
            **chosen,
        ).edited(repairs or {})

    @classmethod
    def checked(cls, path: Path, options: InspectOptions) -> "Repository | ConfigReport":
        """Like `read`: which faults stop the step is known when the code has run."""
        return cls.read(path, options)

    @property
    def document(self) -> Document:
        return self.settings.document

    @property
    def model(self) -> str:
        return str(self.document.get("MODEL.NAME") or "")

    @property
    def decided(self) -> tuple[str, ...]:
        """Of a config that is code, all but what an option of the command line sets too."""
        others = [group for group in GROUPS if group not in ("precision", "batch")]
        return (*super().decided, *(others if self.settings.is_code else ()))

    @property
    def bev_channels(self) -> None:
        """Known to the repository's modules alone."""
        return

    @property
    def scene_settings(self) -> SceneSettings:
        settings = self.settings
        return SceneSettings(
            frame=frame_settings(self.document.get("DATA_CONFIG")),
            features=settings.point_features,
            point_cloud_range=settings.point_cloud_range,
            voxel_size=settings.voxel_size or (1.0, 1.0, 1.0),
            grid_size=settings.grid_size or (1, 1, 1),
            max_points=settings.max_points,
            max_voxels=settings.max_voxels,
            num_classes=len(settings.class_names),
        )

    def edited(self, changes: Changes) -> "Repository":
        if not changes:
            return self
        texts = [f"{'.'.join(path)}={flow(value)}" for path, value in changes.items()]
        overrides = (*self.overrides, *texts)
        return replace(
            self,
            settings=read_settings(self.path, self.root, overrides, self.options.loop.split),
            overrides=overrides,
            edits={**self.edits, **changes},
        )

    def reduced(self, mode: str) -> "Repository":
        if mode == self.UNCHANGED:
            return self
        module = require_module(mode, self.root)
        return self.edited({("MODEL", "MAP_TO_BEV", "NAME"): module})

    def run_with(
        self, *, batch_size: int | None = None, autocast: str | None = None
    ) -> "Repository":
        if self.saved is not None and batch_size not in (None, self.batch_size):
            raise InputError(
                f"--batch {self.saved.path}: holds {self.batch_size} samples, so no step of "
                f"{batch_size} can be made of it"
            )
        return super().run_with(batch_size=batch_size, autocast=autocast)

    def input(self) -> tuple[Scene, tuple[Assumption, ...]]:
        if self.saved is None:
            scene, counts = super().input()
            return replace(scene, grid_size=self.settings.grid_size), counts
        scene = Scene(
            source=f"the batch of {self.saved.path}",
            batch_size=self.batch_size,
            num_points=self.saved.rows("points"),
            num_voxels=self.saved.rows("voxels"),
            grid_size=self.settings.grid_size,
        )
        return scene, ()

    def _scenes(self, scenarios: Sequence[Scenario]) -> dict[Scenario, Batch | SavedBatch]:
        if self.saved is not None:
            return {Scenario.EXPECTED: self.saved}
        varied = self.scenes_of_their_own()
        scenes = {s: self.batch(s) for s in varied if s in scenarios}
        scenes.setdefault(Scenario.EXPECTED, self.batch())
        return dict(scenes)

    def record(self, scenarios: Sequence[Scenario] = EVERY) -> Recorded:
        """Record the training step; which scenarios differ is known to the run alone.

        Raises:
            BevdiagError: the code fails, or asks for something that is not modelled.
        """
        scenes = self._scenes(scenarios)
        traced = trace_step(
            dialect_of(self.root.resolve(), self.settings, self.overrides),
            StepOptions(
                optimization=self.settings.optimization,
                optimizer=self.optimizer,
                autocast=self.autocast,
                target=self.target(),
                loop=self.options.loop,
                replaced=self.options.replaced,
            ),
            self.options.timeout_seconds,
            scenes=scenes,
            overrides=self.overrides,
            pins=self.options.pins,
            rehearses=self.options.rehearses,
            loads=not self.options.in_file_order,
        )
        made = {s: batch for s, batch in scenes.items() if isinstance(batch, Batch)}
        scene, _ = self.input()
        points, voxels = traced.num_points, traced.num_voxels
        return Recorded(
            traces=traced.traces,
            # Points and voxels are as the repository's own data pipeline left them.
            scene=replace(
                scene,
                num_points=scene.num_points if points is None else points,
                num_voxels=voxels or _voxels_made(traced.expected.wiring) or scene.num_voxels,
            ),
            batch=made.get(Scenario.EXPECTED),
            assumptions=(*scene_assumption(made), *traced.assumptions),
            notes=traced.findings,
            unread=traced.unread,
        )

    def findings(self, recorded: Recorded, step: Judged) -> Sifted:
        evidence = TraceEvidence(
            document=self.document,
            autocast=self.autocast,
            optimizer=self.optimizer,
            target=step.target,
            trace=step.trace,
            profile=step.expected,
            high=step.high,
            verdict=step.verdict,
        )
        found = (
            *source_findings(self.document, self.options.data_folder, ran=True),
            *unread(self.document, recorded.unread),
            *step_findings(evidence),
            *repository_stubbed(recorded.notes),
        )
        return sifted(
            with_fixes(found, self),
            self.document,
            RuleStage.CONFIG,
            RuleStage.TRACE,
            RuleStage.SOURCE,
        )

    def fault_behind(self, refusal: Exception) -> ConfigReport | None:
        folder = self.options.data_folder
        found = source_findings(self.document, folder, ran=False, failure=str(refusal))
        findings, silenced = sifted(found, self.document, RuleStage.CONFIG)
        if not any(finding.stops for finding in findings):
            return None
        return ConfigReport(
            config=self.name, findings=findings, silenced=silenced, refusal=str(refusal)
        )


def _voxels_made(wiring: Wiring) -> int:
    """How many voxels the model's own voxelizer makes of the points, 0 where there is none."""
    for entry in wiring.entries:
        names_voxels = entry.key.endswith("coords") and not entry.key.startswith("point")
        if entry.written_by is not None and names_voxels and entry.shape is not None:
            return entry.shape[0]
    return 0


def require_module(name: str, source: Path) -> str:
    """Check that the repository has a way to the BEV map of this name, and return that.

    Raises:
        InputError: it has no such module.
    """
    known = map_to_bev_modules(source)
    if name in known:
        return name
    has = f"this repository has {', '.join(known)}" if known else "this repository names none"
    whose = "is a mode of bevdiag's own module" if name in MODES else "is no module here"
    raise InputError(f"--compression {name} {whose}; {has}")


def map_to_bev_modules(source: Path) -> tuple[str, ...]:
    """Return the names by which the repository registers its ways to the BEV map; runs nothing."""
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
