"""Rulebooks: which voxels a layer's output has and how they pair with the input's.

On meta features only the output's coordinates are computed; the pair tables are meta tensors of
the sizes, in the order and with the lifetimes of spconv 2.3's CUDA code, which is
`get_indice_pairs_implicit_gemm` (spconv/pytorch/ops.py) for the implicit GEMM and
`SpconvOps.get_indice_pairs` (csrc/sparse/all.py) for the native algorithm. N are input voxels, M
output voxels, kv is the kernel volume, and mi = ceil(kv / 32) the words of a voxel's mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bevdiag.memory.events import Category, allocating
from bevdiag.sparse import constants, work
from bevdiag.sparse.coordinates import (
    Coordinates,
    Geometry,
    count_pairs,
    matching_pairs,
    output_coordinates,
)
from bevdiag.sparse.tensor import ConvAlgo, SortScratch

_INT32_MAX = 2**31 - 1
_MASK_BITS = 32
_HASH_SCALE = 1.1
"""spconv's SPCONV_DIRECT_TABLE_HASH_SIZE_SCALE."""
_SUBM_HASH_SLOTS = 2
_NATIVE_HASH_SLOTS = 2
_SORTED_HASH_SLOTS = 2


@dataclass(frozen=True, slots=True, eq=False)
class MaskTables:
    """What the implicit GEMM reads; each entry is int32.

    Attributes:
        pair_fwd: [kv, M], the input voxel of each output under each offset.
        pair_bwd: [kv, N], the output voxel of each input; None for a submanifold layer in eval.
        fwd_order: masks [1, M, mi] and their sorted order [1, M].
        bwd_order: the same of the inputs; empty for a submanifold layer, which reuses fwd_order.
    """

    pair_fwd: torch.Tensor
    pair_bwd: torch.Tensor | None
    fwd_order: tuple[torch.Tensor, ...]
    bwd_order: tuple[torch.Tensor, ...]

    def swapped(self) -> "MaskTables":
        """Return the tables of the inverse layer."""
        if self.pair_bwd is None:
            raise ValueError("a submanifold layer has no inverse")
        return MaskTables(self.pair_bwd, self.pair_fwd, self.bwd_order, self.fwd_order)


@dataclass(frozen=True, slots=True, eq=False)
class NativeTables:
    """What the native algorithm reads: pairs int32 [2, kv, N] and their number int32 [kv]."""

    pairs: torch.Tensor
    num_pairs: torch.Tensor

    def swapped(self) -> "NativeTables":
        """Return the inverse layer's tables; the native code swaps the two halves as it reads."""
        return self


@dataclass(frozen=True, slots=True, eq=False)
class PairLists:
    """With values: for each offset the input rows and the output rows, int64."""

    pairs: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    def swapped(self) -> "PairLists":
        """Return the lists of the inverse layer."""
        return PairLists(tuple((outputs, inputs) for inputs, outputs in self.pairs))


Tables = MaskTables | NativeTables | PairLists


@dataclass(frozen=True, slots=True, eq=False)
class Rulebook:
    """A layer's rulebook, kept in a sparse tensor's indice_dict under its indice_key.

    `num_pairs` are those of all offsets together, None where nobody counts the layer's work.
    """

    geometry: Geometry
    algo: ConvAlgo
    indices: torch.Tensor
    out_indices: torch.Tensor
    spatial_shape: list[int]
    out_spatial_shape: list[int]
    tables: Tables
    num_pairs: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A layer's input voxels in their grid; `device` is that of their features."""

    indices: torch.Tensor
    spatial_shape: list[int]
    batch_size: int
    device: torch.device

    @property
    def num_voxels(self) -> int:
        """Voxels of all samples, N."""
        return self.indices.shape[0]


def build_rulebook(
    grid: Grid,
    geometry: Geometry,
    algo: ConvAlgo,
    *,
    training: bool,
    scratch: SortScratch | None = None,
) -> tuple[Rulebook, torch.Tensor | None]:
    """Make a layer's rulebook.

    Also returns the count of pairs an offset (int32 [kv], None with values): spconv keeps it
    through the layer's forward call and no longer.

    Raises:
        ValueError: the grid shrinks to nothing, a coordinate lies outside it, or no output is left.
    """
    out_shape = geometry.output_shape(grid.spatial_shape)
    num_pairs: torch.Tensor | None = None
    tables: Tables
    with allocating(Category.RULEBOOK):
        if grid.device.type != "meta":
            out_indices, tables = _with_values(grid, geometry)
        elif algo is ConvAlgo.Native:
            out_indices, tables = _native(grid, geometry, out_shape)
            num_pairs = tables.num_pairs
        elif geometry.subm:
            out_indices = grid.indices
            tables, num_pairs = _implicit_gemm_subm(grid, geometry, algo, training, scratch)
        else:
            out_indices, tables, num_pairs = _implicit_gemm(grid, geometry, algo, scratch)
    rulebook = Rulebook(
        geometry,
        algo,
        grid.indices,
        out_indices,
        list(grid.spatial_shape),
        out_shape,
        tables,
        count_pairs(grid.indices.numpy(), grid.spatial_shape, geometry)
        if work.is_counting()
        else None,
    )
    return rulebook, num_pairs


def _implicit_gemm_subm(
    grid: Grid, geometry: Geometry, algo: ConvAlgo, training: bool, scratch: SortScratch | None
) -> tuple[MaskTables, torch.Tensor]:
    num, splits, words = grid.num_voxels, _splits(algo), _mask_words(geometry)
    pair = _int32(grid, 2 if training else 1, geometry.kernel_volume, num)
    num_pairs = _int32(grid, geometry.kernel_volume)
    slots = _hash_table(grid, num * _SUBM_HASH_SLOTS, _wide(grid, grid.spatial_shape))
    mask = _int32(grid, splits, num, words)
    order = _int32(grid, splits, num)
    scratch = scratch or SortScratch(grid.device)
    scratch.reserve(_merge_sort_bytes(num, words))
    # The hash table dies on return, after the sort.
    del slots
    return MaskTables(pair[0], pair[1] if training else None, (mask, order), ()), num_pairs


def _implicit_gemm(
    grid: Grid, geometry: Geometry, algo: ConvAlgo, scratch: SortScratch | None
) -> tuple[torch.Tensor, MaskTables, torch.Tensor]:
    num, splits, words = grid.num_voxels, _splits(algo), _mask_words(geometry)
    cells = _output_cells(grid, geometry)
    wide = _wide(grid, grid.spatial_shape)
    # The backward tables are made in eval mode too: an inverse layer may ask for them.
    pair_bwd = _int32(grid, geometry.kernel_volume, num)
    num_pairs = _int32(grid, geometry.kernel_volume)
    by_hash = constants.SPCONV_USE_DIRECT_TABLE
    find = _find_outputs_by_hash if by_hash else _find_outputs_by_sorting
    held = find(grid, geometry, wide)
    out_indices = _filled(grid, cells)
    pair_fwd = _int32(grid, geometry.kernel_volume, len(cells))
    fwd_mask = _int32(grid, splits, len(cells), words)
    bwd_mask = _int32(grid, splits, num, words)
    if not by_hash:
        held.append(_hash_table(grid, len(cells) * _SORTED_HASH_SLOTS, wide))
    fwd_order = _int32(grid, splits, len(cells))
    bwd_order = _int32(grid, splits, num)
    scratch = scratch or SortScratch(grid.device)
    # Both orders are sorted in one scratch block, the longer one first.
    scratch.reserve(_merge_sort_bytes(max(num, len(cells)), words))
    del held
    tables = MaskTables(pair_fwd, pair_bwd, (fwd_mask, fwd_order), (bwd_mask, bwd_order))
    return out_indices, tables, num_pairs


def _find_outputs_by_hash(grid: Grid, geometry: Geometry, wide: bool) -> list[object]:
    """Allocate the scratch that lives until the rulebook is made."""
    unique = _output_keys(grid, geometry, wide)
    slots = _hash_table(grid, int(geometry.most_outputs(grid.num_voxels) * _HASH_SCALE), wide)
    backup = torch.empty_like(unique)
    return [unique, slots, backup, _int32(grid, 1)]


def _find_outputs_by_sorting(grid: Grid, geometry: Geometry, wide: bool) -> list[object]:
    """Allocate where `Tensor.unique` finds the outputs: its result stays as long as its input."""
    keys = _output_keys(grid, geometry, wide)
    with allocating(Category.WORKSPACE):
        ordered = torch.empty_like(keys)
        # A radix sort writes into a second copy of its keys.
        torch.empty_like(keys)
    unique = torch.empty_like(keys)
    del ordered
    return [keys, unique]


def _output_keys(grid: Grid, geometry: Geometry, wide: bool) -> torch.Tensor:
    key = torch.int64 if wide else torch.int32
    count = geometry.kernel_volume * grid.num_voxels + 1
    return torch.empty(count, dtype=key, device=grid.device)


def _native(
    grid: Grid, geometry: Geometry, out_shape: Sequence[int]
) -> tuple[torch.Tensor, NativeTables]:
    if constants.FIRST_GENERATION:
        return _first_generation(grid, geometry, out_shape)
    num, wide = grid.num_voxels, _wide(grid, out_shape)
    pairs = _int32(grid, 2, geometry.kernel_volume, num)
    num_pairs = _int32(grid, geometry.kernel_volume)
    if geometry.subm:
        _hash_table(grid, num * _SUBM_HASH_SLOTS, wide)
        return grid.indices, NativeTables(pairs, num_pairs)
    cells = _output_cells(grid, geometry)
    unique = _output_keys(grid, geometry, wide)
    backup = torch.empty_like(unique)
    # A radix sort writes into a second copy of its keys.
    with allocating(Category.WORKSPACE):
        torch.empty_like(unique)
    out_indices = _filled(grid, cells)
    slots = _hash_table(grid, len(cells) * _NATIVE_HASH_SLOTS, wide)
    del slots, backup, unique
    return out_indices, NativeTables(pairs, num_pairs)


def _first_generation(
    grid: Grid, geometry: Geometry, out_shape: Sequence[int]
) -> tuple[torch.Tensor, NativeTables]:
    """Make tables of spconv 1's getIndicePair (spconv_ops.h) without its optional hash table."""
    num = grid.num_voxels
    pairs = _int32(grid, geometry.kernel_volume, 2, num)
    num_pairs = _int32(grid, geometry.kernel_volume)
    table = _int32(grid, grid.batch_size * math.prod(out_shape))
    if geometry.subm:
        return grid.indices, NativeTables(pairs, num_pairs)
    cells = _output_cells(grid, geometry)
    unique = _int32(grid, geometry.kernel_volume * num + 1)
    # What is handed out is a slice of a tensor for the most outputs that there could be.
    most = grid.indices.new_empty((geometry.kernel_volume * num, cells.shape[1]))
    out_indices = most[: len(cells)]
    out_indices.numpy()[:] = cells
    del table, unique
    return out_indices, NativeTables(pairs, num_pairs)


def _with_values(grid: Grid, geometry: Geometry) -> tuple[torch.Tensor, PairLists]:
    out_indices = grid.indices
    if not geometry.subm:
        out_indices = _filled(grid, _output_cells(grid, geometry))
    pairs = matching_pairs(grid.indices.numpy(), out_indices.numpy(), grid.spatial_shape, geometry)
    return out_indices, PairLists(
        tuple((torch.from_numpy(inputs), torch.from_numpy(outputs)) for inputs, outputs in pairs)
    )


def _output_cells(grid: Grid, geometry: Geometry) -> Coordinates:
    cells = output_coordinates(grid.indices.numpy(), grid.spatial_shape, geometry)
    if not len(cells):
        raise ValueError(
            f"none of the {grid.num_voxels} voxels reaches an output cell: spatial shape "
            f"{grid.spatial_shape}, {geometry.describe()}; enlarge the grid or the padding"
        )
    return cells


def _filled(grid: Grid, cells: Coordinates) -> torch.Tensor:
    # Made from the input's coordinates, so that whoever counts those as the device's counts these.
    out_indices = grid.indices.new_empty(cells.shape)
    out_indices.numpy()[:] = cells
    return out_indices


def _int32(grid: Grid, *shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.int32, device=grid.device)


def _hash_table(grid: Grid, slots: int, wide: bool) -> tuple[torch.Tensor, ...]:
    if not wide:
        return (_int32(grid, 2, slots),)
    keys = torch.empty(slots, dtype=torch.int64, device=grid.device)
    return keys, _int32(grid, slots)


def _wide(grid: Grid, shape: Sequence[int]) -> bool:
    """Whether a cell's number needs 64 bits; the implicit GEMM looks at the input's grid."""
    return math.prod(shape) * grid.batch_size >= _INT32_MAX


def _splits(algo: ConvAlgo) -> int:
    return 2 if algo is ConvAlgo.MaskSplitImplicitGemm else 1


def _mask_words(geometry: Geometry) -> int:
    return -(-geometry.kernel_volume // _MASK_BITS)


def _merge_sort_bytes(num: int, words: int) -> int:
    """CUB's merge sort copies the keys (a voxel's mask) and the values (its int32 number)."""
    return 4 * num * words + 4 * num
