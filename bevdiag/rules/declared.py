"""Rules about what modules declare and what they are given: channels, and the shapes of DSVT."""

from collections.abc import Iterator

from bevdiag.config import Document
from bevdiag.config.backbone_settings import DsvtSettings, FocalDsvtSettings
from bevdiag.config.bev_settings import PillarScatterSettings, SparseHeightCompressionSettings
from bevdiag.config.parts import UpToMap, as_triple, dsvt_key, listed, triple, whole
from bevdiag.models.interfaces import MapInput, bev_map, sparse_volume, voxel_channels
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import ConfigEvidence, Finding, Severity

_BACKBONE = "MODEL.BACKBONE_3D"
_MADE = f"{_BACKBONE}.FOCAL_ENCODER.OUT_CHANNELS"
_IMPORTANCE = "MODEL.BACKBONE_3D.FOCAL_ENCODER.IMPORTANCE_CHANNELS"
_KERNEL = 3
_SUPERVISED = "MODEL.BACKBONE_3D.FOCAL_ENCODER.LOSS_CONFIG.SUPERVISED_CHANNEL"


def bev_channel_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The 2D backbone is built for other channels than the BEV map has.

    What it means: MAP_TO_BEV.NUM_BEV_FEATURES differs from the channels that arrive. The first
        convolution of the 2D backbone is built for the declared number and stops at the first batch
        with "expected input to have ... channels".
    What is printed:
        expected input... to have <#> channels, but got <#> channels instead (in backbone_2d)
    Why it happens: OpenPCDet never derives the number. Flattening makes C x D channels of a volume
        that is D voxels high, and D follows from the range, the voxel's height and the strides of
        the 3D backbone: any change to one of them changes the channels.
    How to fix: Declare the number that the finding names, if you want that many; else change the
        height of the range or of the voxel until C x D is what is declared.
    Seen in: open-mmlab/OpenPCDet#1162: PV-RCNN++ on its owner's data, where 128 x 3 = 384 channels
        met a declared 256.
    """
    map_input = bev_map(evidence.parts)
    if map_input is None:
        return
    # Pillars above each other and a height that vanishes are other rules' faults.
    is_tall = isinstance(evidence.parts.map_to_bev, PillarScatterSettings) and map_input.depth > 1
    if map_input.declared == map_input.real or map_input.depth < 1 or is_tall:
        return
    yield finding(
        "BEV201",
        f"NUM_BEV_FEATURES declares {map_input.declared} BEV channels, but {map_input.real} "
        f"arrive: {_arithmetic(map_input)}",
        key="MODEL.MAP_TO_BEV.NUM_BEV_FEATURES",
        module="map_to_bev_module",
        detail=_what_follows(map_input, traced=evidence.config is not None),
    )


def _arithmetic(map_input: MapInput) -> str:
    if map_input.flattens or not map_input.is_volume:
        return f"{map_input.channels} channels x {map_input.depth} height levels = {map_input.real}"
    return f"the reduced map keeps the volume's {map_input.real} channels"


def _what_follows(map_input: MapInput, *, traced: bool) -> tuple[str, ...]:
    stop = (
        f"The first convolution of the 2D backbone is built for {map_input.declared} channels; "
        f'PyTorch stops there with "expected input to have {map_input.declared} channels, but got '
        f'{map_input.real} channels instead".'
    )
    fixed = f"All memory figures here are for the config with {map_input.real} declared."
    return (stop, fixed) if traced else (stop,)


def input_channel_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """A module reads other channels than the one before it makes.

    What it means: DSVT adds its position embedding to features of d_model[0] channels, and the
        learned projection of the height reads INPUT_FEATURES channels. With others the first batch
        stops at two tensors that do not fit.
    What is printed:
        The size of tensor a (<#>) must match the size of tensor b (<#>) at non-singleton dimension
            # (in backbone_3d)
        expected input... to have <#> channels, but got <#> channels instead (in map_to_bev_module)
        mat1 and mat2 shapes cannot be multiplied (in backbone_3d)
        mat1 and mat2 shapes cannot be multiplied (#x<#> and <#>x#) (in backbone_3d)
        size mismatch, m1: [# x <#>], m2: [<#> x #] (in backbone_3d)
        channel size mismatch (in backbone_3d)
        inp.dim(1) == filters.dim(-1) assert fail (in backbone_3d)
        mat1 dim 1 must match mat2 dim 0 (in backbone_3d)
    Why it happens: OpenPCDet passes the channels from module to module, but these modules take them
        from their own keys and do not compare.
    How to fix: Let the first module make what the second reads, or the second read what is made.
    Seen in: open-mmlab/mmdetection3d#553: an encoder whose declared input channels are not those of
        its voxels.
    """
    made = evidence.parts.up_to_map()
    if made is not None:
        yield from _into_dsvt(made, evidence.document)
        yield from _into_projection(made)


def _into_dsvt(made: UpToMap, document: Document) -> Iterator[Finding]:
    backbone, key = made.model.backbone_3d, f"{_BACKBONE}.d_model"
    maker: str
    if isinstance(backbone, FocalDsvtSettings):
        maker, channels = backbone.focal_encoder.name, backbone.focal_encoder.out_channels
        dsvt = backbone.dsvt
        key = f"{_BACKBONE}.DSVT.d_model" if document.get(_MADE) is None else _MADE
    elif isinstance(backbone, DsvtSettings):
        maker, channels = made.model.vfe.name, voxel_channels(made.model, made.data)
        dsvt = backbone
    else:
        return
    if channels != dsvt.d_model[0]:
        yield finding(
            "BEV202",
            f"{maker} makes {channels} channels, but DSVT's first stage reads {dsvt.d_model[0]}",
            key=key,
            module="backbone_3d",
        )


def _into_projection(made: UpToMap) -> Iterator[Finding]:
    mapping, volume = made.model.map_to_bev, sparse_volume(made.model, made.data)
    if not isinstance(mapping, SparseHeightCompressionSettings) or volume is None:
        return
    if mapping.mode != "learned" or mapping.height_strides:
        return
    height = volume.spatial_shape[0]
    if mapping.input_features != volume.channels * height:
        yield finding(
            "BEV202",
            f"the learned projection reads {mapping.input_features} channels, but "
            f"{volume.channels} channels x {height} height levels = {volume.channels * height} "
            "arrive",
            key="MODEL.MAP_TO_BEV.INPUT_FEATURES",
            module="map_to_bev_module",
        )


def importance_channel_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The importance convolution does not speak of every voxel of its kernel.

    What it means: A focal convolution reads one channel for each neighbour that a voxel may spawn
        and one, the last, for the voxel itself: 27 for a kernel of 3 x 3 x 3. With fewer the split
        of the voxels runs out of channels.
    Why it happens: The convolution looks like one that rates a voxel, which would take 1 channel.
    How to fix: Give it the kernel's volume: 27 channels for a kernel of 3.
    Seen in: JIA-Lab-research/FocalsConv#2: a focal backbone set up by hand, whose settings have to
        agree with its convolutions.
    """
    written = whole(evidence.document, _IMPORTANCE)
    if written is None or written == _KERNEL**3:
        return
    yield finding(
        "BEV204",
        f"{written} importance channels, where the focal convolution reads {_KERNEL**3}: one for "
        f"each of {_KERNEL**3 - 1} neighbours and one for the voxel itself",
        key=_IMPORTANCE,
        module="backbone_3d.focal_encoder.conv_imp",
    )


def focal_supervision_channel(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The focal loss looks at a neighbour's channel instead of the voxel's own.

    What it means: Of the importance channels the last one rates the voxel itself; the others rate
        its neighbours. A loss on another channel, or on all, teaches "this voxel lies in a box" to
        the wrong output.
    Why it happens: The order of the channels is a convention of the split that reads them, and
        nothing checks it.
    How to fix: Supervise the last channel: -1, or 26 of 27.
    Seen in: JIA-Lab-research/FocalsConv#27: a focal backbone that keeps more voxels than its user
        can hold, which is what the loss is against.
    """
    written = whole(evidence.document, _SUPERVISED)
    if written is None or written in (-1, 26):
        return
    yield finding(
        "BEV205",
        f"the focal loss supervises channel {written}, which rates a neighbour: the voxel's own "
        "importance is the last channel (26, or -1)",
        key=_SUPERVISED,
        module="backbone_3d.focal_encoder",
    )


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
    if height > 1:
        strides = height_strides(height)
        shown = ", ".join(f"[1, 1, {stride}]" for stride in strides)
        lines.append(
            f"The grid is {height} voxels high: {len(strides) + 1} stages with [{shown}] between "
            "them bring it to 1."
        )
    return tuple(lines)


_LARGEST_STRIDE = 8
"""Merging more than eight levels in one step leaves the convolution little to tell apart."""


def height_strides(height: int) -> list[int]:
    """Return strides that bring a height down to 1 one after the other, none above 8.

    The prime factors, small ones multiplied together; a height with a larger prime factor is
    divided by 2, rounding up, until it has none.
    """
    strides: list[int] = []
    while height > 1:
        factor = next((f for f in range(_LARGEST_STRIDE, 1, -1) if height % f == 0), None)
        strides.append(factor or 2)
        height = -(-height // strides[-1])
    return sorted(strides)


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
    document, layer = evidence.document, f"{dsvt_key(evidence.document)}.INPUT_LAYER"
    shape = triple(document, f"{layer}.sparse_shape")
    strides = document.get(f"{layer}.downsample_stride")
    if shape is None or not isinstance(strides, tuple):
        return
    height = shape[2]
    hybrid = triple(document, f"{layer}.hybrid_factor") or (1, 1, 1)
    for stage, window in enumerate(map(as_triple, listed(document, f"{layer}.window_shape"))):
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
