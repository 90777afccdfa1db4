"""Counts that depend on values: never one number, but one for each scenario of a trace."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bevdiag.models.backbones_3d.focal_growth import FocalDecision
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth
from bevdiag.models.detectors.one_stage import OneStageDetector


class Scenario(str, Enum):
    """Which of the possible counts a trace is run with."""

    LOW = "low"
    EXPECTED = "expected"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVoxels:
    """What one module keeps of a batch's voxels: possible counts, and a decision for each.

    Attributes:
        module: path of the module that decides.
        incoming: voxels that it is given in the expected case.
    """

    module: str
    incoming: int
    low: int
    expected: int
    high: int
    why: str
    is_pinned: bool
    decisions: Mapping[Scenario, FocalDecision]

    @property
    def site(self) -> str:
        """The name that --assume takes."""
        return f"{self.module}.kept_voxels"

    @property
    def used(self) -> int:
        """The count behind the headline figures."""
        return self.expected

    def apply(self, model: OneStageDetector, scenario: Scenario) -> None:
        """Make a model on the meta device decide as this scenario says."""
        module = model.get_submodule(self.module)
        assert isinstance(module, VoxelGrowth)
        module.set_decision(self.decisions[scenario])
