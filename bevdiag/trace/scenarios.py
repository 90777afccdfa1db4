"""Counts that depend on values: never one number, but one for each scenario of a trace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bevdiag.models.backbones_3d.focal_growth import FocalDecision
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth
from bevdiag.models.builder import OneStageDetector
from bevdiag.scenes.scenario import Scenario as Scenario
from bevdiag.trace.pins import Assumption


def pinned_by(counts: Sequence[int]) -> str:
    """Why a count is what it is, from a pinned site's counts by step."""
    first, *later = counts
    steps = ", ".join(f"{count:,} in step {step}" for step, count in enumerate(later, 2))
    return f"pinned by --assume: {first:,} in step 1, {steps}" if later else "pinned by --assume"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVoxels:
    """What one module keeps of a batch's voxels: possible counts, and a decision for each.

    Attributes:
        module: path of the module that decides.
        incoming: voxels that it is given in the expected case.
        low, expected, high: the largest of the steps after the first.
        decisions: by step; the last one holds for all further steps.
    """

    module: str
    incoming: int
    low: int
    expected: int
    high: int
    why: str
    is_pinned: bool
    decisions: Mapping[Scenario, Sequence[FocalDecision]]

    @property
    def site(self) -> str:
        """The name that --assume takes."""
        return f"{self.module}.kept_voxels"

    @property
    def used(self) -> int:
        """The count behind the headline figures."""
        return self.expected

    @property
    def assumption(self) -> Assumption:
        """The count as reports show it."""
        return Assumption(
            site=self.site,
            low=self.low,
            expected=self.expected,
            high=self.high,
            used=self.used,
            why=self.why,
        )

    @property
    def num_steps(self) -> int:
        """Steps that differ."""
        return max(map(len, self.decisions.values()))

    def apply(self, model: OneStageDetector, scenario: Scenario, step: int) -> None:
        """Make a model on the meta device decide as this scenario says, in a step from 1 on."""
        module = model.get_submodule(self.module)
        assert isinstance(module, VoxelGrowth)
        decisions = self.decisions[scenario]
        module.decision = decisions[min(step, len(decisions)) - 1]


def between_ends(
    kept: Sequence[KeptVoxels], own: Mapping[Scenario, Sequence[KeptVoxels]]
) -> tuple[KeptVoxels, ...]:
    """Join the counts of the expected scene with the ends that those of other scenes have.

    Args:
        kept: of the expected scene.
        own: the same modules, in the same order, of the scenes of other scenarios.
    """
    lows, highs = own.get(Scenario.LOW, kept), own.get(Scenario.HIGH, kept)
    return tuple(
        replace(site, low=min(site.low, low.low), high=max(site.high, high.high))
        for site, low, high in zip(kept, lows, highs, strict=True)
    )
