"""The sparse max pooling of `spconv.pytorch`."""

import math
from typing import ClassVar

from bevdiag.sparse.conv import Size, expand_nd
from bevdiag.sparse.functional import sparse_max_pool
from bevdiag.sparse.geometry import Geometry
from bevdiag.sparse.modules import SparseModule
from bevdiag.sparse.rulebook import Grid, build_rulebook
from bevdiag.sparse.tensor import ConvAlgo, SparseConvTensor

_MASK_KERNEL_VOLUME = 128


class SparseMaxPool(SparseModule):
    """Drop-in for spconv's class of the same name.

    Args:
        ndim: axes of the grid.
        kernel_size: a number or an entry an axis, as the next three.
        stride: None takes the kernel's size.
        padding: cells around the grid.
        dilation: distance of the window's offsets.
        indice_key: where the rulebook is kept in the tensor's indice_dict.
        subm: keep the input's voxels.
        algo: None lets the kernel volume decide.
        name: the module's name.
    """

    def __init__(
        self,
        ndim: int,
        kernel_size: Size = 3,
        stride: Size | None = 1,
        padding: Size = 0,
        dilation: Size = 1,
        indice_key: str | None = None,
        subm: bool = False,
        algo: ConvAlgo | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.ndim = ndim
        self.kernel_size = expand_nd(ndim, kernel_size)
        self.stride = list(self.kernel_size) if stride is None else expand_nd(ndim, stride)
        self.padding = expand_nd(ndim, padding)
        self.dilation = expand_nd(ndim, dilation)
        self.indice_key = indice_key
        self.subm = subm
        masked = math.prod(self.kernel_size) <= _MASK_KERNEL_VOLUME
        self.algo = algo or (ConvAlgo.MaskImplicitGemm if masked else ConvAlgo.Native)

    def extra_repr(self) -> str:
        """Return the window and the algorithm."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, algo={self.algo}"

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        """Pool; every layer makes a rulebook of its own.

        Raises:
            ValueError: the indice_key exists already.
        """
        if self.indice_key in input.indice_dict:
            raise ValueError(f"indice_key {self.indice_key!r} exists already")
        rulebooks = input.indice_dict.copy()
        geometry = Geometry(
            tuple(self.kernel_size),
            tuple(self.stride),
            tuple(self.padding),
            tuple(self.dilation),
            (0,) * self.ndim,
            subm=self.subm,
        )
        grid = Grid(input.indices, input.spatial_shape, input.batch_size, input.features.device)
        rulebook, num_pairs = build_rulebook(
            grid, geometry, self.algo, training=self.training, scratch=input.thrust_allocator
        )
        if self.indice_key is not None:
            rulebooks[self.indice_key] = rulebook
        output = input.replace_feature(sparse_max_pool(input.features.contiguous(), rulebook))
        del num_pairs
        output.indices = rulebook.out_indices
        output.spatial_shape = list(rulebook.out_spatial_shape)
        output.indice_dict = rulebooks
        return output


class _MaxPool(SparseMaxPool):
    _NDIM: ClassVar[int]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            self._NDIM, kernel_size, stride, padding, dilation, indice_key, algo=algo, name=name
        )


class SparseMaxPool2d(_MaxPool):
    """Maximum over a window in y and x."""

    _NDIM = 2


class SparseMaxPool3d(_MaxPool):
    """Maximum over a window in z, y and x."""

    _NDIM = 3
