"""DSVT or the scatter to the map is set up for another grid than the config has.

What it means:
    Windows are cut, and pillars are placed, on a grid that is not the one the voxels lie on. A grid
    that is too small puts voxels outside; one in the order z, y, x does so almost surely.

What is printed:
    an illegal memory access was encountered

    CUDA error 700

    failed with error 700

    device-side assert triggered (in backbone_3d)

    device-side assert triggered (in map_to_bev_module)

    index # is out of bounds for dimension # with size # (in map_to_bev_module)

Why it happens:
    sparse_shape and INPUT_SHAPE are written out, x, y, z, where the rest of OpenPCDet derives the
    grid and mostly thinks z, y, x. They stay behind when the range or the voxel size changes.

How to fix:
    Write the grid that the finding names.

Seen in:
    Haiyang-W/DSVT#59 (https://github.com/Haiyang-W/DSVT/issues/59): shapes that did not follow the
    range and the voxel size of the owner's data.
"""

from collections.abc import Iterator

from bevdiag.config.written import dsvt_key, triple
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding, Severity

_SCATTER = "MODEL.MAP_TO_BEV.INPUT_SHAPE"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for each shape that is written and differs."""
    data, dsvt = evidence.parts.data, dsvt_key(evidence.document)
    if data is None:
        return
    grid = data.grid_size
    if dsvt is not None:
        # What is outside shares a window with others, unless the same shape makes the volume.
        stops = dsvt != "MODEL.BACKBONE_3D"
        yield from _compared(
            evidence, f"{dsvt}.INPUT_LAYER.sparse_shape", grid, "x, y, z", stops=stops
        )
    # The map's height is what DSVT left of it.
    yield from _compared(evidence, _SCATTER, grid[:2], "x, y", stops=True)


def _compared(
    evidence: ConfigEvidence, key: str, grid: tuple[int, ...], axes: str, *, stops: bool
) -> Iterator[Finding]:
    written = triple(evidence.document, key)
    if written is None or written[: len(grid)] == grid:
        return
    severity = None
    if written[::-1] == grid:
        problem = "is in the order z, y, x"
    elif any(size < cells for size, cells in zip(written, grid, strict=False)):
        problem = "leaves voxels outside"
    else:
        problem, severity = "is larger than the grid, and its rim stays empty", Severity.WARNING
    yield finding(
        "BEV104",
        f"{list(written)} {problem}: the grid is {list(grid)} voxels ({axes})",
        document=evidence.document,
        key=key,
        severity=severity,
        stops=stops,
    )
