"""The names of `spconv.pytorch`, for meta tensors with real coordinates and for the CPU.

`conv`, `functional`, `modules` and `pool` are the submodules that detectors reach into.
"""

from bevdiag.sparse import conv, functional, modules, pool
from bevdiag.sparse.conv import SparseConvolution
from bevdiag.sparse.modules import (
    Identity,
    RemoveGrid,
    SparseBatchNorm,
    SparseIdentity,
    SparseModule,
    SparseReLU,
    SparseSequential,
    ToDense,
    assign_name_for_sparse_modules,
)
from bevdiag.sparse.named_convs import (
    SparseConv2d,
    SparseConv3d,
    SparseConv4d,
    SparseConvTranspose2d,
    SparseConvTranspose3d,
    SparseConvTranspose4d,
    SparseInverseConv2d,
    SparseInverseConv3d,
    SparseInverseConv4d,
    SubMConv2d,
    SubMConv3d,
    SubMConv4d,
)
from bevdiag.sparse.pool import SparseMaxPool2d, SparseMaxPool3d
from bevdiag.sparse.tensor import ConvAlgo, SparseConvTensor

__all__ = [
    "ConvAlgo",
    "Identity",
    "RemoveGrid",
    "SparseBatchNorm",
    "SparseConv2d",
    "SparseConv3d",
    "SparseConv4d",
    "SparseConvTensor",
    "SparseConvTranspose2d",
    "SparseConvTranspose3d",
    "SparseConvTranspose4d",
    "SparseConvolution",
    "SparseIdentity",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SparseInverseConv4d",
    "SparseMaxPool2d",
    "SparseMaxPool3d",
    "SparseModule",
    "SparseReLU",
    "SparseSequential",
    "SubMConv2d",
    "SubMConv3d",
    "SubMConv4d",
    "ToDense",
    "assign_name_for_sparse_modules",
    "conv",
    "functional",
    "modules",
    "pool",
]
