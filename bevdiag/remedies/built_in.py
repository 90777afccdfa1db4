"""Every change that may be written into a config whose modules are built in.

The report's own remedies come first; the others cost the detector more, or another run's settings.
"""

from collections.abc import Iterator
from math import prod

from bevdiag.config import DetectorConfig
from bevdiag.config.backbone_settings import VoxelFocalBackboneSettings
from bevdiag.config.bev_settings import PillarScatter3dSettings, PillarScatterSettings
from bevdiag.config.settings import DsvtSettings, FocalDsvtSettings, SdaVfeSettings
from bevdiag.errors import BevdiagError
from bevdiag.models.bev import bev_joint
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.compressions import Changes
from bevdiag.remedies.candidate import Candidate, Price
from bevdiag.remedies.height import height_changes
from bevdiag.remedies.step_changes import (
    NEW_GRID,
    PROCESSORS,
    VOXELIZER,
    batch_changes,
    half_precision,
    voxel_changes,
)

_MAP_CHANNELS = ("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES")
_BACKBONE_2D = ("MODEL", "BACKBONE_2D")
_BACKBONE_3D = ("MODEL", "BACKBONE_3D")
_ENCODER = (*_BACKBONE_3D, "FOCAL_ENCODER")
_DSVT = (*_BACKBONE_3D, "DSVT")

_TOPK_SHARE = 0.1
"""With every neighbour on, a tenth of the voxels as foreground adds at most 26 / 10 of them."""
_RAISED_THRESHOLD = 0.7
_LARGEST_FACTOR = 7
"""Voxels that are longer than this many of the old ones hold more than one object."""

_NARROWEST = 16
"""Channels below which tensor cores have nothing to do."""


def built_in_candidates(source: BuiltIn) -> Iterator[Candidate]:
    """What can be written into this config, without what the user's options decide."""
    yield from _voxel_size(source)
    if source.options.compression is None:
        yield from height_changes(source)
    yield from voxel_changes(source)
    yield from _focal_bound(source)
    yield from _checkpointing(source)
    yield from _focal(source)
    yield from _narrower_2d(source)
    if reads_amp(source):
        yield from half_precision(source)
    yield from batch_changes(source)


def reads_amp(source: BuiltIn) -> bool:
    """Whether the code that the config is for reads USE_AMP; the report's repository does not."""
    return not isinstance(source.config.model.backbone_3d, FocalDsvtSettings)


def _voxel_size(source: BuiltIn) -> Iterator[Candidate]:
    """Longer voxels: along x and y together, and along z."""
    for group, name, axes in (("voxel-xy", "x and y", (0, 1)), ("voxel-z", "z", (2,))):
        factor = _factor(source.config, axes)
        if factor is None:
            continue
        changes = _longer_voxels(source.config, axes, factor)
        try:
            changes[_MAP_CHANNELS] = _bev_channels(source.config.edited(changes))
        except BevdiagError:
            continue  # the grid collapses, or a window of _DSVT no longer fits it
        grid = " x ".join(map(str, _coarser(source.config.data.grid_size, axes, factor)))
        yield Candidate(
            id=f"{group}-{factor}",
            group=group,
            price=Price.DATA,
            title=f"voxels {factor} times as long along {name}: a grid of {grid}",
            loses=f"resolution along {name}; as many fewer voxels as points share one",
            changes=changes,
            unsafe=NEW_GRID,
        )


def _factor(config: DetectorConfig, axes: tuple[int, ...]) -> int | None:
    """The smallest factor that leaves whole voxels, and whole cells after all strides in x, y."""
    grid, backbone = config.data.grid_size, config.model.backbone_3d
    strides = prod(config.model.backbone_2d.layer_strides)
    if backbone is not None and not isinstance(backbone, FocalDsvtSettings | DsvtSettings):
        strides *= 8
    for factor in range(2, _LARGEST_FACTOR + 1):
        whole = all(grid[axis] % factor == 0 for axis in axes)
        unit = 1 if axes == (2,) else strides
        divides = all(grid[axis] % unit or grid[axis] // factor % unit == 0 for axis in axes)
        if whole and divides:
            return factor
    return None


def _coarser(grid: tuple[int, int, int], axes: tuple[int, ...], factor: int) -> list[int]:
    return [size // factor if axis in axes else size for axis, size in enumerate(grid)]


def _longer_voxels(config: DetectorConfig, axes: tuple[int, ...], factor: int) -> Changes:
    """The voxel size, the grid, and every copy of either in the model."""
    data, model = config.data, config.model
    size = [
        round(length * factor, 9) if axis in axes else length
        for axis, length in enumerate(data.voxel_size)
    ]
    grid = _coarser(data.grid_size, axes, factor)
    changes: Changes = {(*VOXELIZER, "VOXEL_SIZE"): size}
    if data.max_points_per_voxel is None:
        changes = {(*PROCESSORS, f"{VOXELIZER[-1]}_placeholder", "VOXEL_SIZE"): size}
    if isinstance(model.vfe, SdaVfeSettings):
        changes[("MODEL", "VFE", "VOXEL_SIZE")] = size
    backbone = model.backbone_3d
    if isinstance(backbone, FocalDsvtSettings):
        changes[(*_ENCODER, "VOXEL_SIZE")] = size
        changes |= _dsvt_grid(_DSVT, backbone.dsvt, grid)
    elif isinstance(backbone, DsvtSettings):
        changes |= _dsvt_grid(_BACKBONE_3D, backbone, grid)
    if isinstance(model.map_to_bev, PillarScatter3dSettings):
        changes[("MODEL", "MAP_TO_BEV", "INPUT_SHAPE")] = [
            *grid[:2],
            model.map_to_bev.input_shape[2],
        ]
    return changes


def _dsvt_grid(path: tuple[str, ...], dsvt: DsvtSettings, grid: list[int]) -> Changes:
    """_DSVT's own grid and map, and windows that are not longer than the grid."""
    windows = [
        [min(edge, size) for edge, size in zip(window, grid, strict=True)]
        for window in dsvt.input_layer.window_shape
    ]
    return {
        (*path, "INPUT_LAYER", "sparse_shape"): grid,
        (*path, "INPUT_LAYER", "window_shape"): windows,
        (*path, "output_shape"): grid[:2],
    }


def _bev_channels(config: DetectorConfig) -> int:
    """What the map's joint comes to under other grids; pillars keep theirs."""
    if isinstance(config.model.map_to_bev, PillarScatterSettings | PillarScatter3dSettings):
        return config.model.map_to_bev.num_bev_features
    return bev_joint(config).real


def _focal(source: BuiltIn) -> Iterator[Candidate]:
    backbone = source.config.model.backbone_3d
    if isinstance(backbone, FocalDsvtSettings):
        encoder = backbone.focal_encoder
        if not encoder.focal_topk and encoder.focal_threshold < _RAISED_THRESHOLD:
            yield Candidate(
                id="focal-threshold",
                group="growth",
                price=Price.MODEL,
                title=f"voxels spawn neighbours from an importance of {_RAISED_THRESHOLD} upwards",
                loses="growth around less important voxels; bounds nothing where all are important",
                changes={(*_ENCODER, "FOCAL_THRESHOLD"): _RAISED_THRESHOLD},
            )
    elif isinstance(backbone, VoxelFocalBackboneSettings) and (
        not backbone.topk or backbone.threshold > _TOPK_SHARE
    ):
        yield Candidate(
            id="focal-topk",
            group="growth",
            price=Price.MODEL,
            title=f"only the top {_TOPK_SHARE:.0%} of the voxels may spawn neighbours",
            loses="growth around the other voxels; the threshold holds for neighbours too",
            changes={(*_BACKBONE_3D, "TOPK"): True, (*_BACKBONE_3D, "THRESHOLD"): _TOPK_SHARE},
        )


def _narrower_2d(source: BuiltIn) -> Iterator[Candidate]:
    settings = source.config.model.backbone_2d
    filters = [*settings.num_filters, *settings.num_upsample_filters]
    if min(filters) < 2 * _NARROWEST or any(count % 2 for count in filters):
        return
    changes: Changes = {(*_BACKBONE_2D, "NUM_FILTERS"): [n // 2 for n in settings.num_filters]}
    if settings.num_upsample_filters:
        halves = [n // 2 for n in settings.num_upsample_filters]
        changes[(*_BACKBONE_2D, "NUM_UPSAMPLE_FILTERS")] = halves
    yield Candidate(
        id="narrower-2d",
        group="channels",
        price=Price.MODEL,
        title="half the channels in the 2D backbone",
        loses="capacity of the 2D backbone: a quarter of its weights is left",
        changes=changes,
    )


def _focal_bound(source: BuiltIn) -> Iterator[Candidate]:
    backbone = source.config.model.backbone_3d
    if not isinstance(backbone, FocalDsvtSettings) or backbone.focal_encoder.focal_topk:
        return
    yield Candidate(
        id="focal-topk",
        group="growth",
        price=Price.MODEL,
        title=f"only the top {_TOPK_SHARE:.0%} of the voxels may spawn neighbours",
        loses="growth around the other voxels; the threshold holds for neighbours too",
        changes={(*_ENCODER, "FOCAL_TOPK"): True, (*_ENCODER, "FOCAL_THRESHOLD"): _TOPK_SHARE},
    )


def _checkpointing(source: BuiltIn) -> Iterator[Candidate]:
    backbone = source.config.model.backbone_3d
    # Focal_DSVT's own repository reads the misspelt key and ignores the other; OpenPCDet's _DSVT
    # does it the other way round.
    key: tuple[str, ...]
    if isinstance(backbone, FocalDsvtSettings):
        dsvt, key = backbone.dsvt, (*_DSVT, "ues_checkpoint")
    elif isinstance(backbone, DsvtSettings):
        dsvt, key = backbone, ("MODEL", "BACKBONE_3D", "USE_CHECKPOINT")
    else:
        return
    if not (dsvt.USE_CHECKPOINT or dsvt.ues_checkpoint):
        yield Candidate(
            id="dsvt-checkpoint",
            group="checkpoint",
            price=Price.TIME,
            title="activation checkpointing of the _DSVT blocks",
            loses="time: _DSVT's blocks run forward twice",
            changes={key: True},
        )
