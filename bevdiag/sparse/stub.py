"""The names of `spconv.pytorch`, for meta tensors with real coordinates and for the CPU.

`conv`, `functional`, `modules` and `pool` are the submodules that detectors reach into.
"""

from types import ModuleType
from typing import Any

from bevdiag.sparse import conv, functional, modules, pool, tensor
from bevdiag.sparse.conv import SparseConvolution

_REGULAR = (
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"),
    *("groups", "bias", "indice_key"),
)
_INVERSE = ("in_channels", "out_channels", "kernel_size", "indice_key", "bias")
_KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "SparseConv": (_REGULAR, {}),
    "SubMConv": (_REGULAR, {"subm": True}),
    "SparseConvTranspose": (_REGULAR, {"transposed": True}),
    "SparseInverseConv": (_INVERSE, {"inverse": True}),
}
"""What arguments by place are, in spconv's order, and what the name settles."""
_AXES = (2, 3, 4)


def _named_conv(kind: str, ndim: int) -> type[SparseConvolution]:
    """Return the class of convolutions of a kind with so many axes, e.g. SubMConv3d."""
    places, fixed = _KINDS[kind]

    def init(self: SparseConvolution, *args: Any, **options: Any) -> None:
        if len(args) > len(places):
            raise TypeError(f"{type(self).__name__} takes at most {len(places)} by place")
        placed = dict(zip(places, args, strict=False))
        SparseConvolution.__init__(self, ndim, **placed, **fixed, **options)

    body = {"__init__": init, "__module__": __name__, "__doc__": SparseConvolution.__doc__}
    return type(f"{kind}{ndim}d", (SparseConvolution,), body)


_PARTS: dict[ModuleType, tuple[str, ...]] = {
    conv: ("SparseConvolution",),
    modules: (
        *("Identity", "RemoveGrid", "SparseBatchNorm", "SparseIdentity", "SparseModule"),
        *("SparseReLU", "SparseSequential", "ToDense", "assign_name_for_sparse_modules"),
    ),
    pool: ("SparseMaxPool2d", "SparseMaxPool3d"),
    tensor: ("ConvAlgo", "SparseConvTensor"),
}
NAMES: dict[str, Any] = {
    **{"conv": conv, "functional": functional, "modules": modules, "pool": pool},
    **{name: getattr(part, name) for part, names in _PARTS.items() for name in names},
    **{f"{kind}{ndim}d": _named_conv(kind, ndim) for kind in _KINDS for ndim in _AXES},
}
globals().update(NAMES)
