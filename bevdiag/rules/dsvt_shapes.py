"""Rules about the shapes, strides and windows that DSVT is given."""

from collections.abc import Iterator

from bevdiag.config.written import as_triple, dsvt_key, triple
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding, Severity

_SCATTER = "MODEL.MAP_TO_BEV.INPUT_SHAPE"


def sparse_shape_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """DSVT or the scatter to the map is set up for another grid than the config has.

    What it means: Windows are cut, and pillars are placed, on a grid that is not the one the voxels
        lie on. A grid that is too small puts voxels outside; one in the order z, y, x does so
        almost surely.
    What is printed:
        an illegal memory access was encountered
        CUDA error 700
        failed with error 700
        device-side assert triggered (in backbone_3d)
        device-side assert triggered (in map_to_bev_module)
        index # is out of bounds for dimension # with size # (in map_to_bev_module)
    Why it happens: sparse_shape and INPUT_SHAPE are written out, x, y, z, where the rest of
        OpenPCDet derives the grid and mostly thinks z, y, x. They stay behind when the range or the
        voxel size changes.
    How to fix: Write the grid that the finding names.
    Seen in: Haiyang-W/DSVT#59: shapes that did not follow the range and the voxel size of the
        owner's data.
    """
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
        key=key,
        severity=severity,
        stops=stops,
    )


def downsample_stride_unusable(evidence: ConfigEvidence) -> Iterator[Finding]:
    """DSVT's downsampling is not written as its code reads it.

    What it means: Either building ends in a TypeError, or the strides are read and nothing is ever
        pooled.
    What is printed:
        'int' object is not iterable (in backbone_3d)
        'int' object is not subscriptable (in backbone_3d)
    Why it happens: downsample_stride looks like one stride a axis and is one [dx, dy, dz] for each
        transition between two stages: a model of one stage has none, whatever the list says. And
        pooling is all that it does: a map that is flattened from another tensor stays as it was.
    How to fix: Give DSVT more stages, and one triple a transition, whose last number divides the
        height: for 175 voxels [[1, 1, 5], [1, 1, 5], [1, 1, 7]] between four stages.
    Seen in: Haiyang-W/DSVT#75: what else has to change with sparse_shape, asked and not answered.
    """
    document, dsvt = evidence.document, dsvt_key(evidence.document)
    key = f"{dsvt}.INPUT_LAYER.downsample_stride"
    blocks, strides = document.get(f"{dsvt}.block_name"), document.get(key)
    if dsvt is None or not isinstance(strides, tuple) or not isinstance(blocks, tuple):
        return
    stages = len(blocks)
    problem = _problem(strides, stages)
    if problem:
        height = (triple(document, f"{dsvt}.INPUT_LAYER.sparse_shape") or (0, 0, 0))[2]
        detail = _lesson(stages, height)
        # DSVT asks for a stride between two stages and for no more.
        is_spare = all(map(as_triple, strides)) and len(strides) >= stages
        severity = Severity.WARNING if is_spare else None
        yield finding("BEV105", problem, key=key, detail=detail, severity=severity)


def _problem(strides: tuple[object, ...], stages: int) -> str:
    wrong = [item for item in strides if as_triple(item) is None]
    if wrong:
        shown = f"{list(strides)}" if all(type(item) is int for item in strides) else f"{wrong[0]}"
        return f"{shown} is no list of [dx, dy, dz]: building DSVT ends in a TypeError"
    if len(strides) != stages - 1:
        return (
            f"{len(strides)} strides for {stages} stage(s): DSVT pools between two stages, so it "
            f"takes {stages - 1}"
        )
    return ""


def _lesson(stages: int, height: int) -> tuple[str, ...]:
    lines = [
        f"block_name makes {stages} stage(s); each of the {stages - 1} transition(s) between them "
        "takes one [dx, dy, dz], x first.",
        "The BEV map gets lower only where MAP_TO_BEV reads what DSVT's last stage wrote.",
    ]
    factors = _prime_factors(height)
    if len(factors) > 1:
        product = " x ".join(map(str, factors))
        shown = ", ".join(f"[1, 1, {factor}]" for factor in factors)
        lines.append(
            f"The grid is {height} = {product} voxels high: {len(factors) + 1} stages with "
            f"[{shown}] between them bring it to 1."
        )
    return tuple(lines)


def _prime_factors(number: int) -> list[int]:
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors


def window_height_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """DSVT's windows are flat where the grid is not, or the other way round.

    What it means: The position embedding is built for 3 coordinates where the stage's grid is more
        than one voxel high, but is fed 2 where the window is one voxel high. The product of the two
        fails.
    Why it happens: The two heights are decided in two places of the code by two different figures
        of the config.
    How to fix: Give the stage a window that is 1 high exactly where its grid is; hybrid_factor's
        height multiplies the shifted windows.
    Seen in: Haiyang-W/DSVT#64: pillars on another data set, whose windows and shapes have to agree
        on the height.
    """
    document, dsvt = evidence.document, dsvt_key(evidence.document)
    layer = f"{dsvt}.INPUT_LAYER"
    shape, factor = (
        triple(document, f"{layer}.sparse_shape"),
        document.get(f"{layer}.hybrid_factor"),
    )
    windows, strides = (
        document.get(f"{layer}.window_shape"),
        document.get(f"{layer}.downsample_stride"),
    )
    if shape is None or not isinstance(windows, tuple) or not isinstance(strides, tuple):
        return
    height = shape[2]
    hybrid = as_triple(factor) or (1, 1, 1)
    for stage, window in enumerate(map(as_triple, windows)):
        stride = as_triple(strides[stage - 1]) if 0 < stage <= len(strides) else (1, 1, 1)
        if window is None or stride is None:
            return
        height = -(-height // stride[2])
        flat = {window[2] == 1, window[2] * hybrid[2] == 1}
        if flat != {height == 1}:
            yield finding(
                "BEV107",
                f"stage {stage + 1} is {height} voxels high, its windows {window[2]} and "
                f"{window[2] * hybrid[2]}: expected all of them to be 1, or none",
                key=f"{layer}.window_shape",
            )
