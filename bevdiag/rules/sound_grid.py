"""The nearest grid with which every rule about the grid passes, as one edit of the config.

Along x and y the range moves to a multiple of the map's strides. Along the height the range moves
where rounding is all that is wrong, and the voxel's height changes where another number of voxels
is needed: the sensor's range is given, its resolution is a choice. What is written down elsewhere
and follows from the grid is part of the edit.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from math import ceil, floor, isclose, log10, prod

from bevdiag.config import Document, tree
from bevdiag.config.edits import flow
from bevdiag.config.grid import rounded_voxels, whole_voxels
from bevdiag.config.parts import (
    dsvt_key,
    lengths,
    listed,
    read_parts,
    triple,
    voxel_size_key,
    whole,
)
from bevdiag.errors import ConfigError
from bevdiag.models.interfaces import Changes, MapInput, bev_map, head_stride
from bevdiag.rules.codes import CODES, rule_of
from bevdiag.rules.finding import GRID, ConfigEvidence, Finding, Fix, Price, worst_first

GRID_CODES = tuple(f"BEV{number}" for number in (101, 102, 103, 104, 107, 108, 109, 110, 201))

_FLAT = ("BEV103", "BEV108")
_RANGE = ("DATA_CONFIG", "POINT_CLOUD_RANGE")
_CHANNELS = ("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES")
_SCATTER = ("MODEL", "MAP_TO_BEV", "INPUT_SHAPE")
_ANCHORS = ("MODEL", "DENSE_HEAD", "ANCHOR_GENERATOR_CONFIG")
_CAMERA = ("MODEL", "VTRANSFORM")
_COPYING = (("MODEL", "VFE"), ("MODEL", "BACKBONE_3D", "FOCAL_ENCODER"))
"""Sections that may hold copies of the range and of the voxel size."""
_MOST_HEIGHTS = 200
_MANY = 10
"""Voxels of which one more or less moves the end of the range by a tenth at most."""
_DIGITS = 6
"""Decimals of a length in metres: below a thousandth of any voxel."""

Axis = tuple[float, float, float]
"""Low and high end of the range and the voxel, in metres."""


def sound_grid(document: Document) -> Changes:
    """Return the edit with which all rules about the grid pass; empty if none needed or found."""
    size_key = voxel_size_key(document)
    bounds = lengths(document, ".".join(_RANGE), 6)
    size = lengths(document, size_key, 3) if size_key is not None else None
    if size_key is None or bounds is None or size is None or not grid_faults(document):
        return {}
    axes = [(bounds[axis], bounds[axis + 3], size[axis]) for axis in range(3)]
    if any(high <= low or voxel <= 0 for low, high, voxel in axes):
        return {}
    try:
        return _solved(document, tuple(size_key.split(".")), axes)
    except ConfigError:
        return {}  # a place that an edit needs is not there


def with_sound_grid(document: Document, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return the findings, those about the grid with the edit for it; the worst says so."""
    about = [finding for finding in found if finding.code in GRID_CODES]
    changes = sound_grid(document) if about else {}
    if not changes:
        return found
    fix = Fix(
        id="sound-grid",
        group=GRID,
        price=Price.MODEL,
        title="the nearest grid that every rule passes",
        loses="the range or the voxels that it moves",
        edits=changes,
    )
    worst = worst_first(about)[0]
    shown = "; ".join(f"{tree.dotted(path)}: {flow(new)}" for path, new in changes.items())
    advice = (
        "One edit makes the grid sound, and bevdiag fix CONFIG --write (with --source DIR where "
        f"modules are not built in) writes it: {shown}"
    )
    return tuple(
        replace(
            finding,
            fixes=(fix,),
            detail=(*finding.detail, advice) if finding is worst else finding.detail,
        )
        if finding.code in GRID_CODES
        else finding
        for finding in found
    )


def grid_faults(document: Document) -> tuple[Finding, ...]:
    """Return what the rules about the grid find."""
    evidence = ConfigEvidence(document=document, parts=read_parts(document))
    return tuple(found for code in GRID_CODES for found in rule_of(CODES[code])(evidence))


def _solved(document: Document, size_path: tree.Path, axes: list[Axis]) -> Changes:
    multiple = _multiple(document.edited(grid_edits(document, size_path, _rounded(axes))))
    multiples = [_multiple_of(axis, multiple) for axis in axes[:2]]
    flats = [axes[:2], multiples]
    if any(whole_voxels(*axis) is None for axis in axes[:2]) or multiples == axes[:2]:
        flats = [multiples]
    for flat, declares in product(flats, (False, True)):
        for z in _heights(axes[2]):
            changes = grid_edits(document, size_path, [*flat, z], declares=declares)
            faults = {found.code for found in grid_faults(document.edited(changes))}
            if not faults:
                return changes
            if faults <= set(_FLAT) or (z == axes[2] and faults == {"BEV201"}):
                break  # no other height helps: another x and y do, or another declaration
    return {}


def _multiple(document: Document) -> int:
    """Voxels along x and y of which a sound grid is a multiple."""
    parts = read_parts(document)
    before, backbone = bev_map(parts), parts.backbone_2d
    stride = before.stride if before is not None else 1
    return stride * (prod(backbone.layer_strides) if backbone is not None else 1)


def _multiple_of(axis: Axis, multiple: int) -> Axis:
    """Return the axis with the nearest multiple of so many voxels; itself where it has one."""
    low, high, voxel = axis
    count = whole_voxels(*axis)
    if count is not None and count % multiple == 0:
        return axis
    if rounded_voxels(*axis) is None:
        voxel = _coarse((high - low) / multiple)
    count = max(1, round((high - low) / voxel / multiple)) * multiple
    return _stretched(low, high, voxel, count)


def _stretched(low: float, high: float, voxel: float, count: int) -> Axis:
    """Stretch the range to that many voxels: one about 0 stays so, any other keeps its low end."""
    if isclose(low, -high):
        half = round(count * voxel / 2, _DIGITS)
        return -half, half, voxel
    return low, round(low + count * voxel, _DIGITS), voxel


def _heights(axis: Axis) -> Iterator[Axis]:
    """Yield the height as it is, and with other numbers of voxels, the nearest first."""
    low, high, voxel = axis
    quotient = (high - low) / voxel
    yield axis
    for count in sorted(range(1, _MOST_HEIGHTS), key=lambda n: abs(n - quotient)):
        if count >= _MANY and abs(count - quotient) < 1:
            yield _stretched(low, high, voxel, count)
        else:
            tall = high - low if count == 1 else _coarse((high - low) / count)
            yield _stretched(low, high, round(tall, _DIGITS), count)


def _coarse(length: float) -> float:
    """Round the length up to two digits."""
    digits = 1 - floor(log10(length))
    scale = 10.0**digits
    return round(ceil(length * scale - 1e-9) / scale, max(digits, 0))


def _rounded(axes: Iterable[Axis]) -> list[Axis]:
    """Return the axes with at least one voxel each, so that a grid can be made of them."""
    return [
        axis if rounded_voxels(*axis) is not None else (axis[0], axis[1], axis[1] - axis[0])
        for axis in axes
    ]


def grid_edits(
    document: Document, size_path: tree.Path, axes: list[Axis], *, declares: bool = False
) -> Changes:
    """Return everything that a grid of these axes makes the config say, and that it does not yet.

    Args:
        document: the config.
        size_path: where the voxel size is written.
        axes: x, y and z.
        declares: whether the channels of the map are declared anew.
    """
    ranges = (*(low for low, _, _ in axes), *(high for _, high, _ in axes))
    size = tuple(voxel for _, _, voxel in axes)
    changes: Changes = {_RANGE: ranges, size_path: size}
    for section in _COPYING:
        for key, value in (("VOXEL_SIZE", size), (_RANGE[1], ranges)):
            if document.get(tree.dotted((*section, key))) is not None:
                changes[(*section, key)] = value
    parts = read_parts(document.edited(changes))
    if parts.data is not None:
        grid, dsvt = parts.data.grid_size, dsvt_key(document)
        shape = f"{dsvt}.INPUT_LAYER.sparse_shape"
        if dsvt is not None and triple(document, shape) is not None:
            changes[tuple(shape.split("."))] = grid
        scatter = triple(document, ".".join(_SCATTER))
        if scatter is not None:
            changes[_SCATTER] = (*grid[:2], scatter[2])
        changes |= _of_the_map(document.edited(changes), declares=declares)
    return {path: new for path, new in changes.items() if document.get(tree.dotted(path)) != new}


def _of_the_map(document: Document, *, declares: bool) -> Changes:
    """Anchors' stride, cameras' bounds, and the channels if they are to be declared anew."""
    parts = read_parts(document)
    made = bev_map(parts)
    changes = _camera_bounds(document, made)
    stride = head_stride(parts)
    if stride is not None and stride == int(stride):
        for index, entry in enumerate(listed(document, ".".join(_ANCHORS))):
            if isinstance(entry, Mapping) and "feature_map_stride" in entry:
                changes[(*_ANCHORS, str(index), "feature_map_stride")] = int(stride)
    if declares and made is not None and made.depth > 0:
        changes[_CHANNELS] = made.real
    return changes


def _camera_bounds(document: Document, lidar: MapInput | None) -> Changes:
    """Bounds of the range, in as many cells as the LiDAR's map has after the downsampling."""
    bounds = lengths(document, ".".join(_RANGE), 6)
    if bounds is None or lidar is None:
        return {}
    down = whole(document, tree.dotted((*_CAMERA, "DOWNSAMPLE"))) or 1
    sides = {"XBOUND": lidar.width, "YBOUND": lidar.height}
    return {
        (*_CAMERA, name): (low, high, round((high - low) / (cells * down), _DIGITS))
        for (name, cells), low, high in zip(sides.items(), bounds[:2], bounds[3:5], strict=True)
        if lengths(document, tree.dotted((*_CAMERA, name)), 3) is not None
    }
