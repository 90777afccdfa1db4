"""What a rule is given, and what it gives: one thing that is wrong or worth knowing. Plain values.

A rule looks at the config alone, or at the config and a traced step. One that knows what helps
against its fault has a function beside it, `<rule>_fixes`. It is asked of the config alone, before
and after other fixes, so that sets of fixes can be made one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bevdiag.config import DetectorConfig, Document, ReadingNote
from bevdiag.config.edits import flow
from bevdiag.config.parts import Parts
from bevdiag.config.tree import Path as Keys
from bevdiag.errors import Location
from bevdiag.memory.verdict import Verdict

# Rules that need the config alone run where torch is not installed or not worth its import.
if TYPE_CHECKING:
    from bevdiag.memory.device import DeviceTarget
    from bevdiag.memory.profile import MemoryProfile
    from bevdiag.models.interfaces import MapInput
    from bevdiag.scenes import Batch
    from bevdiag.source import SourceSettings
    from bevdiag.trace.kept_voxels import KeptVoxels
    from bevdiag.trace.step import Trace

PROCESSORS = ("DATA_CONFIG", "DATA_PROCESSOR")
VOXELIZER = (*PROCESSORS, "transform_points_to_voxels")
GRID = "grid"
"""The group of the one edit that makes the grid sound, which no step is traced without."""
OWN_MODULE = "MAP_TO_BEV's {name}, which OpenPCDet lacks and bevdiag/models/map_to_bev has"


class Price(IntEnum):
    """What a fix takes from the detector, the least first."""

    NOTHING = 0
    TIME = 1
    PRECISION = 2
    MODEL = 3
    DATA = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One change. Fixes of one `group` exclude each other.

    Attributes:
        price: how dear the loss is, 0 (nothing) to 4 (input data).
        edits: keys of the config and their new values.
        autocast: the precision to switch to, if the fix does.
        batch_size: the samples of a step, if the fix sets them.
        loses: what it costs other than memory, in a phrase.
        unsafe: why the detector would no longer see the same input or predict on the same map,
            in a phrase; empty where it does.
        needs: what the training code must have that OpenPCDet's lacks, in a phrase.
    """

    id: str
    group: str
    price: Price
    title: str
    loses: str
    edits: Mapping[tuple[str, ...], object] = field(default_factory=dict)
    autocast: str | None = None
    batch_size: int | None = None
    unsafe: str = ""
    needs: str = ""


class Fixable(Protocol):
    """The step of a config that can be edited.

    `config` are the settings of built-in modules, `settings` those of a repository's own, each
    None where the modules are the others'. `own_points` says whether the user gave the scene,
    `decided` which groups of fixes the user's options leave nothing to do.
    """

    @property
    def batch_size(self) -> int: ...
    @property
    def autocast(self) -> str: ...
    @property
    def document(self) -> Document: ...
    @property
    def config(self) -> DetectorConfig | None: ...
    @property
    def settings(self) -> SourceSettings | None: ...
    @property
    def root(self) -> Path | None: ...
    @property
    def own_points(self) -> bool: ...
    @property
    def decided(self) -> tuple[str, ...]: ...
    @property
    def max_points(self) -> int | None: ...
    @property
    def max_voxels(self) -> int | None: ...
    def batch(self) -> Batch: ...


def batch_key(step: Fixable) -> tuple[str, ...]:
    """Where the batch size is written."""
    if step.settings is None:
        return "OPTIMIZATION", "BATCH_SIZE_PER_GPU"
    return step.settings.batch_key


def nodes(node: object, path: Keys) -> Iterator[tuple[Keys, object]]:
    """Yield a value of a plain config and all below it, each with its path.

    An entry of a list goes by its NAME where it has one.
    """
    yield path, node
    below: Iterable[tuple[object, object]] = ()
    if isinstance(node, dict):
        below = node.items()
    elif isinstance(node, list):
        below = (
            (item.get("NAME", index) if isinstance(item, dict) else index, item)
            for index, item in enumerate(node)
        )
    for key, value in below:
        yield from nodes(value, (*path, str(key)))


def for_training(document: Document, key: tuple[str, ...]) -> tuple[str, ...]:
    """Return the key itself, or its entry for training where it is written by mode."""
    by_mode = isinstance(document.get(".".join(key)), dict)
    return (*key, "train") if by_mode else key


class Severity(str, Enum):
    """How much a finding matters; an error alone makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Confidence(str, Enum):
    """How sure a finding is: certain follows by arithmetic, likely is a rule of thumb."""

    CERTAIN = "certain"
    LIKELY = "likely"


@dataclass(frozen=True, slots=True)
class Silencing:
    """The comment or the policy's rule that silences a finding: its reason, and where it stands."""

    reason: str
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong or worth knowing. `detail` lines teach; `message` is one sentence.

    `command` is what to type to correct it, empty where there is no one command; `stops` says that
    no step runs with it. `fixes` are what its rule can write into the config against it.
    """

    code: str
    severity: Severity
    confidence: Confidence = Confidence.CERTAIN
    message: str
    location: Location | None = None
    key: str = ""
    module: str = ""
    detail: tuple[str, ...] = ()
    command: str = ""
    stops: bool = False
    fixes: tuple[Fix, ...] = ()
    silenced: Silencing | None = None

    @property
    def offered_edits(self) -> dict[str, str]:
        """Keys and their new values, as YAML, with which a fault of the grid is gone."""
        grid = next((fix for fix in self.fixes if fix.group == GRID), None)
        edits = {} if grid is None else grid.edits
        return {".".join(path): flow(value) for path, value in edits.items()}


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, warnings, then the rest; within a severity in the order of the rules."""
    order = tuple(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEvidence:
    """One config before anything is built from it.

    Attributes:
        document: what is written, bases and overrides merged.
        parts: the settings of each section that makes sense by itself.
        config: the checked settings, None where they make no sense or name what bevdiag does not
            model; a rule that can tell from the document alone should.
        data_root: the folder that the config's relative data paths start from, if it was named.
    """

    document: Document
    parts: Parts
    config: DetectorConfig | None = None
    data_root: Path | None = None

    @property
    def notes(self) -> tuple[ReadingNote, ...]:
        """What was noted while the config was read and, if it makes sense, checked."""
        return self.document.notes if self.config is None else self.config.notes


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvidence:
    """One traced step, of whatever model.

    Attributes:
        document: what is written, for the places that findings point at.
        trace: the step with the expected counts; `profile` is its memory without a limit.
        high: the memory of the upper end.
    """

    document: Document
    autocast: str
    optimizer: str
    target: DeviceTarget
    trace: Trace
    profile: MemoryProfile
    high: MemoryProfile
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvidence(TraceEvidence):
    """One traced step of a model that bevdiag built from the config's settings.

    Where the config declares other channels than arrive, the trace is of the fixed config.
    """

    config: DetectorConfig
    batch: Batch
    map_input: MapInput
    kept_voxels: tuple[KeptVoxels, ...]
