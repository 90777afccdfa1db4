"""Changes to a config whose modules a repository's own code builds.

None of them needs a module of bevdiag's: they change what the step is fed, how it is run, and
switches that the code was seen to read. What each comes to, that code says when it is run again.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from math import gcd
from pathlib import Path

from bevdiag.config.tree import Path as Keys
from bevdiag.prediction.compressions import Changes
from bevdiag.prediction.repository import Repository
from bevdiag.remedies.candidate import Candidate, Price
from bevdiag.remedies.keys_read import KeyRead, keys_read
from bevdiag.remedies.step_changes import (
    FEWER_INPUTS,
    NEW_GRID,
    PROCESSORS,
    batch_changes,
    for_training,
    half_precision,
    voxel_changes,
)

_SWITCHES = re.compile(r"checkpoint|ckpt|^with_cp$", re.IGNORECASE)
"""How code names a switch of activation checkpointing."""
_USE_AMP = re.compile(r"\bUSE_AMP\b")
_RANGE = ("DATA_CONFIG", "POINT_CLOUD_RANGE")
_STRIDE = 8
"""Of the backbones of OpenPCDet: what a grid shares with it, it keeps."""
_LARGEST_FACTOR = 7
_GRID_KEY = re.compile(r"grid|shape|size|range", re.IGNORECASE)


def repository_candidates(source: Repository) -> Iterator[Candidate]:
    """What can be written into this config, without what the user's options decide.

    Of a config that is code, what an option on the command line sets.
    """
    if source.settings.is_code:
        yield from half_precision(source)
        yield from batch_changes(source)
        return
    yield from _longer_voxels(source)
    yield from _smaller_range(source)
    yield from voxel_changes(source)
    yield from _fewer_sampled_points(source)
    yield from _checkpointing(source)
    if reads_amp(source):
        yield from half_precision(source)
    yield from batch_changes(source)


def reads_amp(source: Repository) -> bool:
    """Whether the repository's code reads OPTIMIZATION.USE_AMP."""
    return bool(_keys_read(source.source.resolve(), _USE_AMP))


@lru_cache(maxsize=8)
def _keys_read(root: Path, wanted: re.Pattern[str]) -> tuple[KeyRead, ...]:
    return keys_read(root, wanted)


def _longer_voxels(source: Repository) -> Iterator[Candidate]:
    """Longer voxels along x and y; along z the channels of the map would follow, unknown here."""
    size, grid = source.settings.voxel_size, source.settings.grid_size
    if size is None or grid is None:
        return
    for factor in range(2, _LARGEST_FACTOR + 1):
        if all(_is_whole(cells, cells / factor) for cells in grid[:2]):
            break
    else:
        return
    longer = (round(size[0] * factor, 9), round(size[1] * factor, 9), size[2])
    coarser = (grid[0] // factor, grid[1] // factor, grid[2])
    yield Candidate(
        id=f"voxel-xy-{factor}",
        group="voxel-xy",
        price=Price.DATA,
        title=f"voxels {factor} times as long along x and y: a grid of "
        f"{' x '.join(map(str, coarser))}",
        loses="resolution along x and y; as many fewer voxels as points share one",
        changes=_everywhere(source, {size: longer, **_grids(grid, coarser)}),
        unsafe=NEW_GRID,
    )


def _is_whole(before: int, after: float) -> bool:
    unit = gcd(before, _STRIDE)
    return after >= unit and after % unit == 0


def _smaller_range(source: Repository) -> Iterator[Candidate]:
    """A quarter less of the range along x and y, cut off where it is far from the sensor."""
    size, grid = source.settings.voxel_size, source.settings.grid_size
    if size is None or grid is None or min(grid[:2]) < 8 * _STRIDE:
        return
    bounds, cells = list(source.settings.point_cloud_range), list(grid)
    for axis in (0, 1):
        ends = [end for end in (axis, axis + 3) if (bounds[end] < 0) == (end < 3)]
        unit = gcd(grid[axis], _STRIDE)
        cut = grid[axis] // 4 // (unit * len(ends)) * unit
        for end in ends:
            inwards = size[axis] * cut * (1 if end < 3 else -1)
            bounds[end] = round(bounds[end] + inwards, 6)
            cells[axis] -= cut
    kept = cells[0] * cells[1] / (grid[0] * grid[1])
    smaller = (cells[0], cells[1], cells[2])
    before = source.settings.point_cloud_range
    yield Candidate(
        id="smaller-range",
        group="range",
        price=Price.DATA,
        title=f"a range of {kept:.0%} of the area: x {bounds[0]:g} to {bounds[3]:g}, "
        f"y {bounds[1]:g} to {bounds[4]:g}",
        loses="what lies beyond it",
        changes=_everywhere(source, {before: tuple(bounds), **_grids(grid, smaller)}),
        unsafe=f"{FEWER_INPUTS}, and {NEW_GRID}",
    )


def _grids(
    before: tuple[int, int, int], after: tuple[int, int, int]
) -> dict[tuple[float, ...], tuple[float, ...]]:
    """The grid and the map as configs repeat them."""
    return {before: after, before[:2]: after[:2]}


def _everywhere(source: Repository, wanted: dict[tuple[float, ...], tuple[float, ...]]) -> Changes:
    """The lists that hold these values, in the data's part of the config and the model's."""
    root = source.settings.values()
    places = [
        place
        for part in ("DATA_CONFIG", "MODEL")
        for place in _lists(root.get(part), (part,))
        if tuple(place[1]) in wanted and (not _is_grid(place[1]) or _GRID_KEY.search(place[0][-1]))
    ]
    return {path: list(wanted[tuple(values)]) for path, values in places}


def _is_grid(values: list[float]) -> bool:
    return all(isinstance(value, int) for value in values)


def _lists(node: object, path: Keys) -> Iterator[tuple[Keys, list[float]]]:
    """Every list of numbers below a node, with its path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _lists(value, (*path, str(key)))
    elif isinstance(node, list):
        if node and all(type(value) in (int, float) for value in node):
            yield path, node
            return
        for index, value in enumerate(node):
            name = value.get("NAME") if isinstance(value, dict) else None
            yield from _lists(value, (*path, name if isinstance(name, str) else str(index)))


def _fewer_sampled_points(source: Repository) -> Iterator[Candidate]:
    count = source.settings.num_sampled_points
    if count is None or count < 2:
        return
    yield Candidate(
        id="fewer-samples",
        group="samples",
        price=Price.DATA,
        title=f"{count // 2:,} points sampled of a cloud instead of {count:,}",
        loses="half of the points that the detector sees",
        changes={for_training(source, (*PROCESSORS, "sample_points", "NUM_POINTS")): count // 2},
        unsafe=FEWER_INPUTS,
    )


def _checkpointing(source: Repository) -> Iterator[Candidate]:
    """Switches of activation checkpointing that a class named in the config reads."""
    model = source.settings.values().get("MODEL")
    for read in _keys_read(source.source.resolve(), _SWITCHES):
        for path, section in _sections(model, ("MODEL",)):
            if read.owner not in (section.get("NAME"), path[-1]):
                continue
            now = section.get(read.key)
            if now is False or (now is None and read.is_switch):
                yield Candidate(
                    id=f"checkpoint-{'-'.join(path[1:]).lower()}",
                    group="checkpoint",
                    price=Price.TIME,
                    title=f"activation checkpointing in {read.owner}",
                    loses="time: what is checkpointed runs forward twice",
                    changes={(*path, read.key): True},
                )


def _sections(node: object, path: Keys) -> Iterator[tuple[Keys, dict[str, object]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _sections(value, (*path, str(key)))
