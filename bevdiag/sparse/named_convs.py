"""The convolution classes by kind and number of axes, as `spconv.pytorch` names them."""

from typing import Any, ClassVar

from bevdiag.sparse.conv import SparseConvolution


class _NamedConv(SparseConvolution):
    """A convolution whose class says how many axes it has, and of which kind it is."""

    _NDIM: ClassVar[int]
    _FIXED: ClassVar[dict[str, Any]]
    _PLACES: ClassVar[tuple[str, ...]]
    """What arguments by place are, in spconv's order."""

    def __init_subclass__(cls, ndim: int | None = None, **fixed: bool) -> None:
        if ndim is not None:  # a subclass of the user's is what its base is
            cls._NDIM, cls._FIXED = ndim, fixed

    def __init__(self, *args: Any, **options: Any) -> None:
        if len(args) > len(self._PLACES):
            raise TypeError(f"{type(self).__name__} takes at most {len(self._PLACES)} by place")
        placed = dict(zip(self._PLACES, args, strict=False))
        super().__init__(self._NDIM, **placed, **self._FIXED, **options)


class _RegularConv(_NamedConv):
    _PLACES = (
        *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"),
        *("groups", "bias", "indice_key"),
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
    _PLACES = ("in_channels", "out_channels", "kernel_size", "indice_key", "bias")


class SparseInverseConv2d(_InverseConv, ndim=2, inverse=True):
    """Goes back to the voxels that the convolution with the same indice_key had."""


class SparseInverseConv3d(_InverseConv, ndim=3, inverse=True):
    """Goes back to the voxels that the convolution with the same indice_key had."""


class SparseInverseConv4d(_InverseConv, ndim=4, inverse=True):
    """Goes back to the voxels that the convolution with the same indice_key had."""
