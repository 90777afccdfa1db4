"""What gives a model, a batch and its step; whatever stands on it is blind to which kind it is.

There are three: a config of modules that are built in (`built_in`), the code of a repository
(`repository`), and any nn.Module with inputs (`module`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import torch

from bevdiag.config import DetectorConfig, Document
from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.memory.device import DeviceTarget
from bevdiag.models.interfaces import Changes
from bevdiag.prediction.judged import Judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import ConfigReport, Scene
from bevdiag.prediction.scene import SceneSettings, Shared, scene_of
from bevdiag.prediction.target import device_target
from bevdiag.rules.finding import Finding
from bevdiag.scenes import Batch
from bevdiag.trace.kept_voxels import KeptVoxels, Scenario
from bevdiag.trace.pins import Assumption
from bevdiag.trace.step import Trace

if TYPE_CHECKING:
    from bevdiag.source import SourceSettings

EVERY = tuple(Scenario)
_OF_INPUT = ("voxel-xy", "voxel-z", "range", "samples", "points", "voxels", "batch")
"""The groups of fixes that change what a step is fed."""
ENDS_THAT_JUDGE = (Scenario.EXPECTED, Scenario.HIGH)
"""What a verdict needs."""

Sifted = tuple[tuple[Finding, ...], tuple[Finding, ...]]
Self = TypeVar("Self", bound="ConfigSource")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A training step, recorded.

    Attributes:
        traces: by scenario; the expected one alone where there is one scene and no count depends
            on values.
        scene: the input as reports show it, None where the model came with inputs of its own.
        batch: the input, where bevdiag made it.
        assumptions: every count that depends on values or on the scene.
        kept_voxels: those that a built-in module decides.
        notes: what was replaced, refused or answered while the user's own code ran.
        unread: keys of a config that no code read, and what that means.
    """

    traces: Mapping[Scenario, Trace]
    scene: Scene | None = None
    batch: Batch | None = None
    assumptions: tuple[Assumption, ...] = ()
    kept_voxels: tuple[KeptVoxels, ...] = ()
    notes: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)


class StepSource(Protocol):
    """What gives a model, a batch and its step.

    `name` is the config's, empty where there is none; `model` what the detector is called;
    `autocast` is off, fp16 or bf16, `optimizer` as configs name it; `bev_channels` those of the
    BEV map, None where that is not known.
    """

    @property
    def options(self) -> InspectOptions: ...
    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def autocast(self) -> str: ...
    @property
    def optimizer(self) -> str: ...
    @property
    def bev_channels(self) -> int | None: ...

    def target(self) -> DeviceTarget:
        """Return the GPU and versions that the step is predicted for."""
        ...

    def record(self, scenarios: Sequence[Scenario] = EVERY) -> Recorded:
        """Record the training step in these scenarios, as far as they differ."""
        ...

    def findings(self, recorded: Recorded, step: Judged) -> Sifted:
        """Return what is wrong with it, worst first, and what comments silence."""
        ...


@dataclass(frozen=True, kw_only=True)
class ConfigSource(ABC):
    """A step that a config describes: it can be edited, and run with other settings.

    Attributes:
        options: the user's; the fields below hold what they and the config come to.
        config: the settings of built-in modules; None where a repository builds its own, whose
            `settings` and folder, `root`, there are then.
        edits: the changes that led here from the file and the options.
        shared: scenes and counts that its variants have in common.
    """

    UNCHANGED: ClassVar[str]
    """What a comparison calls the way to the BEV map that it is held against."""

    path: Path
    options: InspectOptions
    batch_size: int
    autocast: str
    optimizer: str
    config: DetectorConfig | None = None
    settings: "SourceSettings | None" = None
    root: Path | None = None
    edits: Changes = field(default_factory=dict)
    shared: Shared = field(default_factory=Shared, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The CPU's share of a trace is many small products; a pool of threads that waits for its
        # slowest member makes them slower, many times so on a machine that has other work.
        torch.set_num_threads(1)

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    @abstractmethod
    def document(self) -> Document:
        """What is written, edits included."""

    @property
    @abstractmethod
    def model(self) -> str: ...

    @property
    @abstractmethod
    def bev_channels(self) -> int | None: ...

    @property
    @abstractmethod
    def scene_settings(self) -> SceneSettings:
        """What the config says of its input."""

    @property
    def own_points(self) -> bool:
        """Whether the user gave the scene."""
        return bool(self.options.points)

    @property
    def decided(self) -> tuple[str, ...]:
        """The groups of fixes that the user's options leave nothing to do."""
        chosen = {
            "height": self.options.compression,
            "precision": self.options.autocast,
            "batch": self.options.batch_size,
        }
        groups = tuple(group for group, option in chosen.items() if option is not None)
        # A saved batch stays what it is, whatever the config says.
        return groups if self.options.batch is None else (*groups, *_OF_INPUT)

    @property
    def max_points(self) -> int | None:
        """Points a voxel keeps; None where the config voxelizes dynamically."""
        return self.scene_settings.max_points

    @property
    def max_voxels(self) -> int | None:
        """Voxels a sample keeps; None likewise."""
        return self.scene_settings.max_voxels

    @abstractmethod
    def edited(self: Self, changes: Changes) -> Self:
        """Return the same with changed keys in the config.

        Raises:
            BevdiagError: the edited config cannot be used.
        """

    @abstractmethod
    def reduced(self: Self, mode: str) -> Self:
        """Return the same with another way to the BEV map.

        Raises:
            BevdiagError: it has no such way.
        """

    @abstractmethod
    def record(self, scenarios: Sequence[Scenario] = EVERY) -> Recorded: ...

    @abstractmethod
    def findings(self, recorded: Recorded, step: Judged) -> Sifted: ...

    def as_it_arrives(self: Self) -> Self:
        """Return the same with the channels that arrive, where the config declares others."""
        return self

    def fault_behind(self, refusal: Exception) -> ConfigReport | None:
        """Return the fault of the config that explains why its step could not be recorded."""
        return None

    def run_with(self: Self, *, batch_size: int | None = None, autocast: str | None = None) -> Self:
        """Return the same step with other settings beside the config."""
        return replace(
            self,
            batch_size=batch_size or self.batch_size,
            autocast=autocast or self.autocast,
        )

    def target(self) -> DeviceTarget:
        return device_target(self.options, torch.__version__)

    def batch(self, scenario: Scenario = Scenario.EXPECTED) -> Batch:
        """Return the user's points or a synthetic scene, voxelized as the config says."""
        settings, made = self.scene_settings, self.shared.batches
        key = (settings, self.batch_size, scenario)
        if key not in made:
            made[key] = settings.make(self.batch_size, self.options, scenario)
        return made[key]

    def scenes_of_their_own(self) -> tuple[Scenario, ...]:
        """Return the scenarios whose scene is not the expected one, and that one."""
        if self.options.pins:  # A count that the user pinned is one of the expected scene.
            return ()
        return self.scene_settings.wanted(self.batch_size, self.options).scenarios

    def input(self) -> tuple[Scene, tuple[Assumption, ...]]:
        """Return the scene, and those counts of its step that are known before one is traced.

        What they share is made here; called before processes are forked, these have it.
        """
        return scene_of(self.batch()), ()

    def uses_cuda(self) -> bool:
        """Whether the step is measured on a GPU too."""
        return False


def step_settings(options: InspectOptions, written: OptimizationSettings) -> dict[str, object]:
    """Batch size, autocast and optimizer: the user's, or else the config's own."""
    return {
        "batch_size": options.batch_size or written.batch_size_per_gpu,
        "autocast": options.autocast or ("fp16" if written.use_amp else "off"),
        "optimizer": options.optimizer or written.optimizer,
    }
