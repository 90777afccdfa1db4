"""The sparse tensor: features [N, C] at coordinates [N, 1 + axes]."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch

from bevdiag.memory.events import Category, allocating
from bevdiag.sparse import constants
from bevdiag.sparse.coordinates import check_inside


class ConvAlgo(Enum):
    """How spconv multiplies: gather and multiply offset by offset, or one masked implicit GEMM."""

    Native = 0
    MaskImplicitGemm = 1
    MaskSplitImplicitGemm = 2


class SortScratch:
    """The scratch memory of a thrust sort, kept while it is large enough.

    spconv makes one for each rulebook, unless a sparse tensor carries a permanent one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._block: torch.Tensor | None = None

    def reserve(self, nbytes: int) -> None:
        """Make sure that `nbytes` are there; what was there before stays."""
        if self._block is None or self._block.numel() < nbytes:
            with allocating(Category.WORKSPACE):
                self._block = torch.empty(nbytes, dtype=torch.uint8, device=self._device)


class SparseConvTensor:
    """Drop-in for `spconv.pytorch.SparseConvTensor`.

    Args:
        features: [N, C], on the meta device or with values on the CPU.
        indices: int32 [N, 1 + axes] with values: sample, then the cell, z, y, x (or y, x).
        spatial_shape: cells an axis, in the order of the indices.
        batch_size: number of samples.
        indice_dict: the rulebooks made so far, by their layers' indice_key.
        permanent_thrust_allocator: keep the sort's scratch memory from one rulebook to the next.
        grid, voxel_num, benchmark, enable_timer, force_algo: taken for the signature's sake;
            nothing is timed, and spconv's layers do not read the algorithm either.

    Raises:
        ValueError: the coordinates are not int32 with values, or do not fit the spatial shape.
    """

    def __init__(
        self,
        features: torch.Tensor,
        indices: torch.Tensor,
        spatial_shape: "Sequence[int] | np.ndarray[Any, Any]",
        batch_size: int,
        grid: torch.Tensor | None = None,
        voxel_num: torch.Tensor | None = None,
        indice_dict: dict[str, Any] | None = None,
        benchmark: bool = False,
        permanent_thrust_allocator: bool = False,
        enable_timer: bool = False,
        force_algo: ConvAlgo | None = None,
    ) -> None:
        if features.ndim != 2 or indices.ndim != 2:
            raise ValueError("features and indices must be matrices, one row a voxel")
        if indices.dtype != torch.int32:
            raise ValueError(f"indices must be int32, found {indices.dtype}")
        if indices.is_meta:
            raise ValueError("indices must hold values: keep coordinates off the meta device")
        if len(spatial_shape) != indices.shape[1] - 1:
            raise ValueError(
                f"spatial_shape {list(spatial_shape)} does not fit indices of "
                f"{indices.shape[1]} columns: one axis a column after the sample's"
            )
        self._features = features
        self.indices = indices
        self.spatial_shape = [int(size) for size in spatial_shape]
        self.batch_size = batch_size
        self.indice_dict: dict[str, Any] = {} if indice_dict is None else indice_dict
        self.grid = grid
        self.voxel_num = voxel_num
        self.benchmark = benchmark
        self.benchmark_record: dict[str, Any] = {}
        self.thrust_allocator: SortScratch | None = None
        if permanent_thrust_allocator:
            self.thrust_allocator = SortScratch(features.device)
        self.force_algo = force_algo

    def __repr__(self) -> str:
        return f"SparseConvTensor[shape={self._features.shape}]"

    @property
    def features(self) -> torch.Tensor:
        """[N, C]; exchanged with `replace_feature`, in spconv 1 by setting it."""
        return self._features

    @features.setter
    def features(self, value: torch.Tensor) -> None:
        if constants.FIRST_GENERATION:
            self._features = value
            return
        raise ValueError("features cannot be set: use x = x.replace_feature(...) instead")

    @property
    def is_quantized(self) -> bool:
        """Whether the features are 8-bit integers."""
        return self._features.dtype == torch.qint8

    @property
    def spatial_size(self) -> int:
        """Cells of one sample's grid."""
        return int(np.prod(self.spatial_shape, dtype=np.int64))

    def replace_feature(self, feature: torch.Tensor) -> "SparseConvTensor":
        """Return the same voxels with other features."""
        other = SparseConvTensor(
            feature,
            self.indices,
            self.spatial_shape,
            self.batch_size,
            self.grid,
            self.voxel_num,
            self.indice_dict,
            self.benchmark,
            force_algo=self.force_algo,
        )
        other.benchmark_record = self.benchmark_record
        other.thrust_allocator = self.thrust_allocator
        return other

    def shadow_copy(self) -> "SparseConvTensor":
        """Return a new tensor that shares every part with this one."""
        return self.replace_feature(self._features)

    def select_by_index(self, valid_indices: torch.Tensor) -> "SparseConvTensor":
        """Pick voxels by an index or a mask; empties the shared rulebooks, as spconv does."""
        other = self.replace_feature(self._features[valid_indices])
        other.indices = self.indices[valid_indices]
        other.indice_dict.clear()
        return other

    def find_indice_pair(self, key: str | None) -> Any:
        """Return the rulebook kept under an indice_key, or None."""
        return None if key is None else self.indice_dict.get(key)

    def dense(self, channels_first: bool = True) -> torch.Tensor:
        """[B, C, ...cells] (or [B, ...cells, C]): zeros but for the voxels.

        The chain of operations is spconv's own, and so are its two copies of the dense tensor when
        the channels come first.

        Raises:
            ValueError: a voxel lies outside, which the GPU finds as it writes.
        """
        check_inside(self.indices.numpy(), self.spatial_shape, self.batch_size)
        shape = [self.batch_size, *self.spatial_shape, self._features.shape[1]]
        cells = self.indices.long()
        dense = torch.zeros(*shape, dtype=self._features.dtype, device=self._features.device)
        dense[tuple(cells[:, column] for column in range(cells.shape[1]))] = self._features
        del cells
        if not channels_first:
            return dense
        axes = range(1, 1 + len(self.spatial_shape))
        return dense.permute(0, len(shape) - 1, *axes).contiguous()

    def minus(self) -> "SparseConvTensor":
        """Return the same voxels with negated features."""
        return self.replace_feature(-self._features)

    def __add__(self, other: "SparseConvTensor | torch.Tensor") -> "SparseConvTensor":
        addend = other.features if isinstance(other, SparseConvTensor) else other
        return self.replace_feature(self._features + addend)

    __radd__ = __add__
