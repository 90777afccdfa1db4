"""The convolution classes by kind and number of axes, as `spconv.pytorch` names them."""

from typing import Any, ClassVar

from bevdiag.sparse.conv import Size, SparseConvolution


class _RegularConv(SparseConvolution):
    _NDIM: ClassVar[int]
    _FIXED: ClassVar[dict[str, Any]] = {}

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


class SparseConv2d(_RegularConv):
    """Convolution that fills every cell its window reaches."""

    _NDIM = 2


class SparseConv3d(_RegularConv):
    """Convolution that fills every cell its window reaches."""

    _NDIM = 3


class SparseConv4d(_RegularConv):
    """Convolution that fills every cell its window reaches."""

    _NDIM = 4


class SubMConv2d(_RegularConv):
    """Submanifold convolution: the output has the input's voxels."""

    _NDIM = 2
    _FIXED: ClassVar[dict[str, Any]] = {"subm": True}


class SubMConv3d(_RegularConv):
    """Submanifold convolution: the output has the input's voxels."""

    _NDIM = 3
    _FIXED: ClassVar[dict[str, Any]] = {"subm": True}


class SubMConv4d(_RegularConv):
    """Submanifold convolution: the output has the input's voxels."""

    _NDIM = 4
    _FIXED: ClassVar[dict[str, Any]] = {"subm": True}


class SparseConvTranspose2d(_RegularConv):
    """Transposed convolution that fills every cell its window reaches."""

    _NDIM = 2
    _FIXED: ClassVar[dict[str, Any]] = {"transposed": True}


class SparseConvTranspose3d(_RegularConv):
    """Transposed convolution that fills every cell its window reaches."""

    _NDIM = 3
    _FIXED: ClassVar[dict[str, Any]] = {"transposed": True}


class _InverseConv(SparseConvolution):
    _NDIM: ClassVar[int]

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


class SparseInverseConv2d(_InverseConv):
    """Goes back to the voxels that the convolution with the same indice_key had."""

    _NDIM = 2


class SparseInverseConv3d(_InverseConv):
    """Goes back to the voxels that the convolution with the same indice_key had."""

    _NDIM = 3
