"""What a rule may look at: the config alone, or the config and a traced step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bevdiag.config import DetectorConfig, Document, ReadingNote
from bevdiag.config.parts import Parts
from bevdiag.memory.verdict import Verdict

# Rules that need the config alone run where torch is not installed or not worth its import.
if TYPE_CHECKING:
    from bevdiag.memory.device import DeviceTarget
    from bevdiag.memory.profile import MemoryProfile
    from bevdiag.models.interfaces import MapInput
    from bevdiag.scenes import Batch
    from bevdiag.trace.kept_voxels import KeptVoxels
    from bevdiag.trace.step import Trace


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
