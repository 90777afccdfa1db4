"""The sparse max pooling of `spconv.pytorch`."""

import math
from typing import ClassVar

from bevdiag.sparse.conv import Size, WindowedModule
from bevdiag.sparse.functional import sparse_max_pool
from bevdiag.sparse.tensor import ConvAlgo, SparseConvTensor

_MASK_KERNEL_VOLUME = 128


class SparseMaxPool(WindowedModule):
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
        stride = kernel_size if stride is None else stride
        super().__init__(ndim, kernel_size, stride, padding, dilation, 0, subm, indice_key, name)
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
        rulebook, num_pairs = self._new_rulebook(input, rulebooks)
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
