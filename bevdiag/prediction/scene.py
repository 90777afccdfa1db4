"""The scene that a step runs on: what a config says of it, and the batch that is made once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bevdiag.config.data import FrameSettings
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import SCENE_SITE, Assumption, Scene
from bevdiag.scenes import Batch, PointLayout, Scenario, Wanted, make_batch
from bevdiag.scenes.point_layout import Range

BOXES_PER_SAMPLE = 25
"""Ground-truth boxes of a sample; they cost next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSettings:
    """What a config says of its input.

    Attributes:
        frame: what DATA_CONFIG says of a frame.
        features: names of a point's values, x, y, z first.
        max_points: points a voxel keeps, None without hard voxelization; `max_voxels` voxels a
            sample keeps in training, None likewise.
        box_extras: values of a ground-truth box beyond the plain ones.
    """

    frame: FrameSettings
    features: tuple[str, ...]
    point_cloud_range: Range
    voxel_size: tuple[float, float, float]
    grid_size: tuple[int, int, int]
    max_points: int | None
    max_voxels: int | None
    num_classes: int
    box_extras: int = 0

    def make(self, batch_size: int, options: InspectOptions, scenario: Scenario) -> Batch:
        """Make the user's points or a synthetic scene, voxelized."""
        samples, source = self.wanted(batch_size, options).samples(scenario)
        return make_batch(
            samples,
            point_cloud_range=self.point_cloud_range,
            voxel_size=self.voxel_size,
            grid_size=self.grid_size,
            max_points=self.max_points,
            max_voxels=self.max_voxels,
            num_boxes=BOXES_PER_SAMPLE,
            num_classes=self.num_classes,
            seed=options.seed,
            source=source,
            box_extras=self.box_extras,
        )

    def wanted(self, batch_size: int, options: InspectOptions) -> Wanted:
        """Say what the clouds of a batch are to be."""
        return Wanted(
            files=options.points,
            scene=options.scene,
            layout=PointLayout(
                features=self.features,
                point_cloud_range=self.point_cloud_range,
                stored=self.frame.stored,
                shuffled=self.frame.shuffled and not options.in_file_order,
                columns=options.point_columns,
                dtype=options.point_dtype,
            ),
            batch_size=batch_size,
            dataset=self.frame.dataset,
            frames=self.frame.frames,
            pasted=self.frame.pasted,
            seed=options.seed,
        )


@dataclass(slots=True)
class Shared:
    """What the variants of one config have in common; every variant keeps the user's options.

    Attributes:
        batches: by scene settings, number of samples and scenario.
        counts: those that values decide, by what they depend on.
    """

    batches: dict[tuple[SceneSettings, int, Scenario], Batch] = field(default_factory=dict)
    counts: dict[Any, Any] = field(default_factory=dict)


def scene_of(batch: Batch) -> Scene:
    """Describe the input as reports show it."""
    return Scene(
        source=batch.source,
        batch_size=batch.batch_size,
        num_points=len(batch.points),
        num_voxels=batch.num_voxels,
        grid_size=batch.grid_size,
    )


def scene_assumption(scenes: Mapping[Scenario, Batch]) -> tuple[Assumption, ...]:
    """Return the scene as a count that is not known, by its voxels, or its points if it has none.

    Args:
        scenes: of every scenario that has one of its own; empty where the user gave the scene.
    """
    if len(scenes) < 2:
        return ()
    counts = {s: batch.num_voxels or len(batch.points) for s, batch in scenes.items()}
    expected = counts[Scenario.EXPECTED]
    return (
        Assumption(
            site=SCENE_SITE,
            low=min(counts.values()),
            expected=expected,
            high=max(counts.values()),
            used=expected,
            why=(
                "the frames that training meets are not known: traced with a sparse, a common and "
                "a dense synthetic one; --points and --scene give your own"
            ),
        ),
    )
