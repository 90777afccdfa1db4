"""The convolution classes by kind and number of axes, as `spconv.pytorch` names them."""

from typing import Any, ClassVar

from bevdiag.sparse.conv import Size, SparseConvolution


class _NamedConv(SparseConvolution):
    """A convolution whose class says how many axes it has, and of which kind it is."""

    _NDIM: ClassVar[int]
    _FIXED: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, ndim: int | None = None, **fixed: bool) -> None:
        if ndim is not None:  # a subclass of the user's is what its base is
            cls._NDIM, cls._FIXED = ndim, fixed


class _RegularConv(_NamedConv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        indice_key: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            self._NDIM,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            indice_key=indice_key,
            **self._FIXED,
            **options,
        )


class SparseConv2d(_RegularConv, ndim=2):
    """Convolution that fills every cell its window reaches."""


class SparseConv3d(_RegularConv, ndim=3):
    """Convolution that fills every cell its window reaches."""


class SparseConv4d(_RegularConv, ndim=4):
    """Convolution that fills every cell its window reaches."""


class SubMConv2d(_RegularConv, ndim=2, subm=True):
    """Submanifold convolution: the output has the input's voxels."""


class SubMConv3d(_RegularConv, ndim=3, subm=True):
    """Submanifold convolution: the output has the input's voxels."""


class SubMConv4d(_RegularConv, ndim=4, subm=True):
    """Submanifold convolution: the output has the input's voxels."""


class SparseConvTranspose2d(_RegularConv, ndim=2, transposed=True):
    """Transposed convolution that fills every cell its window reaches."""


class SparseConvTranspose3d(_RegularConv, ndim=3, transposed=True):
    """Transposed convolution that fills every cell its window reaches."""


class SparseConvTranspose4d(_RegularConv, ndim=4, transposed=True):
    """Transposed convolution that fills every cell its window reaches."""


class _InverseConv(_NamedConv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        indice_key: str,
        bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            self._NDIM,
            in_channels,
            out_channels,
            kernel_size,
            bias=bias,
            inverse=True,
            indice_key=indice_key,
            **options,
        )


class SparseInverseConv2d(_InverseConv, ndim=2):
    """Goes back to the voxels that the convolution with the same indice_key had."""


class SparseInverseConv3d(_InverseConv, ndim=3):
    """Goes back to the voxels that the convolution with the same indice_key had."""


class SparseInverseConv4d(_InverseConv, ndim=4):
    """Goes back to the voxels that the convolution with the same indice_key had."""
