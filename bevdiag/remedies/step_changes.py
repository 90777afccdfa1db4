"""Changes to what a step is fed and how it is run, which any detector takes."""

from collections.abc import Iterator

from bevdiag.prediction.step_source import ConfigSource
from bevdiag.remedies.candidate import Candidate, Price

PROCESSORS = ("DATA_CONFIG", "DATA_PROCESSOR")
VOXELIZER = (*PROCESSORS, "transform_points_to_voxels")

NEW_GRID = "moves the grid that the voxels and the predictions stand on"
FEWER_INPUTS = "throws input away"
_SYNTHETIC = "a synthetic scene does not say how full the voxels of your data are"


def for_training(source: ConfigSource, key: tuple[str, ...]) -> tuple[str, ...]:
    """The key itself, or its entry for training where it is written by mode."""
    by_mode = isinstance(source.document.get(".".join(key)), dict)
    return (*key, "train") if by_mode else key


def voxel_changes(source: ConfigSource) -> Iterator[Candidate]:
    """Fewer point slots a voxel, and fewer voxels."""
    scene, batch = source.scene_settings, source.batch()
    if batch.voxels is None or scene.max_points is None or scene.max_voxels is None:
        return
    fullest = max(int(sample.num_points.max()) for sample in batch.voxels)
    if fullest < scene.max_points:
        yield Candidate(
            id="fewer-points",
            group="points",
            price=Price.NOTHING,
            title=f"{fullest} point slots a voxel instead of {scene.max_points}",
            loses=f"nothing on this scene: no voxel holds more than {fullest} points",
            changes={(*VOXELIZER, "MAX_POINTS_PER_VOXEL"): fullest},
            unsafe="" if source.options.points else _SYNTHETIC,
        )
    half = max(len(sample.coords) for sample in batch.voxels) // 2
    if half:
        yield Candidate(
            id="fewer-voxels",
            group="voxels",
            price=Price.DATA,
            title=f"at most {half:,} voxels a sample",
            loses="the points of every voxel beyond that, in the order of the cloud",
            changes={for_training(source, (*VOXELIZER, "MAX_NUMBER_OF_VOXELS")): half},
            unsafe=FEWER_INPUTS,
        )


def half_precision(source: ConfigSource) -> Iterator[Candidate]:
    """The key for autocast, for code that reads it."""
    key, value = source.half_precision
    if source.autocast == "off" and source.options.autocast is None:
        yield Candidate(
            id="use-amp",
            group="precision",
            price=Price.PRECISION,
            title="fp16 autocast",
            loses="precision of matrix products and convolutions",
            changes={key: value},
            autocast="fp16",
        )


def batch_changes(source: ConfigSource) -> Iterator[Candidate]:
    """Fewer samples a step, where the user's options do not decide that."""
    size = 0 if source.options.batch_size is not None else source.batch_size // 2
    while size >= 1:
        steps = source.batch_size / size
        samples = f"{size} sample{'s' if size > 1 else ''}"
        yield Candidate(
            id=f"batch-{size}",
            group="batch",
            price=Price.MODEL,
            title=f"{samples} a step instead of {source.batch_size}",
            loses=f"batch norm sees {samples} at a time",
            changes={source.batch_key: size},
            batch_size=size,
            unsafe=f"the optimizer's batch shrinks unless the training loop sums the gradients of "
            f"{steps:g} steps",
        )
        size //= 2
