"""Fixes that take input, resolution, samples or capacity away: they help against any peak.

Those of a repository's config need no module of bevdiag's; what each comes to, its own code says
when it is run again.
"""

import re
from collections.abc import Iterable, Iterator
from math import gcd, prod
from typing import TYPE_CHECKING

from bevdiag.config import DetectorConfig, Document
from bevdiag.config.backbone_settings import DsvtSettings, FocalDsvtSettings
from bevdiag.config.parts import dsvt_key, listed, voxel_size_key
from bevdiag.models.interfaces import Changes
from bevdiag.rules.finding import (
    PROCESSORS,
    VOXELIZER,
    Fix,
    Fixable,
    Price,
    Severity,
    batch_key,
    for_training,
    nodes,
)
from bevdiag.rules.sound_grid import grid_edits, grid_faults

# Where no repository is named, nothing of what runs one is imported.
if TYPE_CHECKING:
    from bevdiag.source import SourceSettings

_NEW_GRID = "moves the grid that the voxels and the predictions stand on"
_FEWER_INPUTS = "throws input away"
_BACKBONE_2D = ("MODEL", "BACKBONE_2D")

_LARGEST_FACTOR = 7
"""Voxels that are longer than this many of the old ones hold more than one object."""
_NARROWEST = 16
"""Channels below which tensor cores have nothing to do."""
_STRIDE = 8
"""Of the backbones of OpenPCDet: what a grid shares with it, it keeps."""
_GRID_KEY = re.compile(r"grid|shape|size|range", re.IGNORECASE)


def fixes(step: Fixable) -> Iterator[Fix]:
    """Longer voxels, a smaller range, fewer voxels, points and channels, and a smaller batch."""
    if step.config is not None:
        yield from _longer_voxels(step.config, step.document)
        yield from _narrower_2d(step.config)
    if step.settings is not None:
        yield from _longer_voxels_there(step.settings)
        yield from _smaller_range(step.settings)
        yield from _fewer_sampled_points(step.settings)
    yield from _fewer_voxels(step)
    yield from _smaller_batches(step)


def _longer_voxels(config: DetectorConfig, document: Document) -> Iterator[Fix]:
    """Longer voxels: along x and y together, and along z."""
    data, backbone = config.data, config.model.backbone_3d
    grid, size_key = data.grid_size, voxel_size_key(document)
    strides = prod(config.model.backbone_2d.layer_strides)
    if backbone is not None and not isinstance(backbone, FocalDsvtSettings | DsvtSettings):
        strides *= _STRIDE
    units = [strides if size % strides == 0 else 1 for size in grid[:2]]
    for axes, factor in (((0, 1), _factor(grid[:2], units)), ((2,), _factor(grid[2:], [1]))):
        if factor is None or size_key is None:
            continue
        size = _with_factor(data.voxel_size, axes, factor)
        bounds = zip(data.point_cloud_range[:3], data.point_cloud_range[3:], size, strict=True)
        coarser = _coarser(grid, axes, factor)
        changes = grid_edits(document, tuple(size_key.split(".")), list(bounds), declares=True)
        changes |= _within(document, coarser)
        faults = grid_faults(document.edited(changes))
        # The height may collapse, or a window of DSVT no longer fit.
        if all(fault.severity is not Severity.ERROR for fault in faults):
            yield _longer(axes, factor, coarser, changes)


def _longer_voxels_there(settings: "SourceSettings") -> Iterator[Fix]:
    """Longer voxels along x and y; along z the channels of the map would follow, unknown here."""
    size, grid = settings.voxel_size, settings.grid_size
    if size is None or grid is None:
        return
    factor = _factor(grid[:2], [gcd(cells, _STRIDE) for cells in grid[:2]])
    if factor is not None:
        longer = _with_factor(size, (0, 1), factor)
        coarser = _coarser(grid, (0, 1), factor)
        edits = _everywhere(settings, {size: longer, **_grids(grid, coarser)})
        yield _longer((0, 1), factor, coarser, edits)


def _factor(cells: Iterable[int], units: Iterable[int]) -> int | None:
    """Return the smallest factor that leaves a whole number of each unit; None if none does."""
    sides = list(zip(cells, units, strict=True))
    factors = range(2, _LARGEST_FACTOR + 1)
    return next((f for f in factors if all(size % (f * unit) == 0 for size, unit in sides)), None)


def _longer(axes: tuple[int, ...], factor: int, grid: tuple[int, ...], edits: Changes) -> Fix:
    group, name = ("voxel-z", "z") if axes == (2,) else ("voxel-xy", "x and y")
    return Fix(
        id=f"{group}-{factor}",
        group=group,
        price=Price.DATA,
        title=f"voxels {factor} times as long along {name}: a grid of {' x '.join(map(str, grid))}",
        loses=f"resolution along {name}; as many fewer voxels as points share one",
        edits=edits,
        unsafe=_NEW_GRID,
    )


def _coarser(grid: tuple[int, ...], axes: tuple[int, ...], factor: int) -> tuple[int, ...]:
    return tuple(size // factor if axis in axes else size for axis, size in enumerate(grid))


def _with_factor(
    lengths: tuple[float, ...], axes: tuple[int, ...], factor: int
) -> tuple[float, ...]:
    return tuple(
        round(length * factor, 9) if axis in axes else length for axis, length in enumerate(lengths)
    )


def _within(document: Document, grid: tuple[int, ...]) -> Changes:
    """Return the map's sides that DSVT is set up for, and windows that are within the grid."""
    dsvt = dsvt_key(document)
    shape, windows = f"{dsvt}.output_shape", f"{dsvt}.INPUT_LAYER.window_shape"
    within = tuple(tuple(map(min, window, grid)) for window in listed(document, windows))
    wanted = {shape: grid[:2], windows: within}
    return {
        tuple(key.split(".")): new
        for key, new in wanted.items()
        if document.get(key) not in (None, new)
    }


def _narrower_2d(config: DetectorConfig) -> Iterator[Fix]:
    backbone = config.model.backbone_2d
    filters = [*backbone.num_filters, *backbone.num_upsample_filters]
    if min(filters) < 2 * _NARROWEST or any(count % 2 for count in filters):
        return
    changes: Changes = {(*_BACKBONE_2D, "NUM_FILTERS"): [n // 2 for n in backbone.num_filters]}
    if backbone.num_upsample_filters:
        halves = [n // 2 for n in backbone.num_upsample_filters]
        changes[(*_BACKBONE_2D, "NUM_UPSAMPLE_FILTERS")] = halves
    yield Fix(
        id="narrower-2d",
        group="channels",
        price=Price.MODEL,
        title="half the channels in the 2D backbone",
        loses="capacity of the 2D backbone: a quarter of its weights is left",
        edits=changes,
    )


def _smaller_range(settings: "SourceSettings") -> Iterator[Fix]:
    """Yield a quarter less of the range along x and y, cut off where it is far from the sensor."""
    size, grid = settings.voxel_size, settings.grid_size
    if size is None or grid is None or min(grid[:2]) < 8 * _STRIDE:
        return
    bounds, cells = list(settings.point_cloud_range), list(grid)
    for axis in (0, 1):
        ends = [end for end in (axis, axis + 3) if (bounds[end] < 0) == (end < 3)]
        unit = gcd(grid[axis], _STRIDE)
        cut = grid[axis] // 4 // (unit * len(ends)) * unit
        for end in ends:
            inwards = size[axis] * cut * (1 if end < 3 else -1)
            bounds[end] = round(bounds[end] + inwards, 6)
            cells[axis] -= cut
    kept = cells[0] * cells[1] / (grid[0] * grid[1])
    edits = {settings.point_cloud_range: tuple(bounds), **_grids(grid, tuple(cells))}
    yield Fix(
        id="smaller-range",
        group="range",
        price=Price.DATA,
        title=f"a range of {kept:.0%} of the area: x {bounds[0]:g} to {bounds[3]:g}, "
        f"y {bounds[1]:g} to {bounds[4]:g}",
        loses="what lies beyond it",
        edits=_everywhere(settings, edits),
        unsafe=f"{_FEWER_INPUTS}, and {_NEW_GRID}",
    )


def _grids(
    before: tuple[int, ...], after: tuple[int, ...]
) -> dict[tuple[float, ...], tuple[float, ...]]:
    """Return the grid and the map as configs repeat them."""
    return {before: after, before[:2]: after[:2]}


def _everywhere(
    settings: "SourceSettings", wanted: dict[tuple[float, ...], tuple[float, ...]]
) -> Changes:
    """Return the lists that hold these values, in the data's part of the config and the model's."""
    root = settings.values()
    return {
        path: list(wanted[tuple(values)])
        for part in ("DATA_CONFIG", "MODEL")
        for path, values in nodes(root.get(part), (part,))
        if isinstance(values, list)
        and all(type(value) in (int, float) for value in values)
        and tuple(values) in wanted
        and (float in map(type, values) or _GRID_KEY.search(path[-1]))
    }


def _fewer_sampled_points(settings: "SourceSettings") -> Iterator[Fix]:
    count = settings.num_sampled_points
    if count is None or count < 2:
        return
    key = for_training(settings.document, (*PROCESSORS, "sample_points", "NUM_POINTS"))
    yield Fix(
        id="fewer-samples",
        group="samples",
        price=Price.DATA,
        title=f"{count // 2:,} points sampled of a cloud instead of {count:,}",
        loses="half of the points that the detector sees",
        edits={key: count // 2},
        unsafe=_FEWER_INPUTS,
    )


def _fewer_voxels(step: Fixable) -> Iterator[Fix]:
    voxels = step.batch().voxels
    if voxels is None or step.max_points is None or step.max_voxels is None:
        return
    half = max(len(sample.coords) for sample in voxels) // 2
    if half:
        yield Fix(
            id="fewer-voxels",
            group="voxels",
            price=Price.DATA,
            title=f"at most {half:,} voxels a sample",
            loses="the points of every voxel beyond that, in the order of the cloud",
            edits={for_training(step.document, (*VOXELIZER, "MAX_NUMBER_OF_VOXELS")): half},
            unsafe=_FEWER_INPUTS,
        )


def _smaller_batches(step: Fixable) -> Iterator[Fix]:
    """Fewer samples a step."""
    key = batch_key(step)
    size = step.batch_size // 2
    while size >= 1:
        steps = step.batch_size / size
        samples = f"{size} sample{'s' if size > 1 else ''}"
        yield Fix(
            id=f"batch-{size}",
            group="batch",
            price=Price.MODEL,
            title=f"{samples} a step instead of {step.batch_size}",
            loses=f"batch norm sees {samples} at a time",
            edits={key: size},
            batch_size=size,
            unsafe=f"the optimizer's batch shrinks unless the training loop sums the gradients of "
            f"{steps:g} steps",
        )
        size //= 2
