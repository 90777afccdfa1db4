"""The modules `spconv` and `cumm` as detectors import them, on bevdiag's own stub."""

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.state import current, note
from bevdiag.source.stubs.inert import InertModule, filled, inert_with
from bevdiag.source.stubs.voxelizers import HostVoxelizer, from_numpy
from bevdiag.sparse import constants, stub
from bevdiag.sparse.tensor import ConvAlgo
from bevdiag.sparse.tensor import SparseConvTensor as _SparseConvTensor
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.places import user_place
from bevdiag.trace.unknown_values import Question

VERSION = "2.3.8"


class _AnySparseTensor(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _SparseConvTensor)


class SparseConvTensor(_SparseConvTensor, metaclass=_AnySparseTensor):
    """bevdiag's sparse tensor; features that still have values lose them here.

    In a rehearsal they keep them, and the layers compute.
    """

    def __init__(self, features: Tensor, indices: Tensor, *args: Any, **kwargs: Any) -> None:
        features = current().gpu.valueless(features)
        # Asked in any case: a rehearsal, which has the values, has to know that they are wanted.
        question = current().gpu.recorder.asked("copy", indices)
        if indices.is_meta:
            indices = _rehearsed_coordinates(indices, question)
        super().__init__(features, indices, *args, **kwargs)


def _rehearsed_coordinates(indices: Tensor, question: Question | None) -> Tensor:
    """Coordinates that features decide, [N, 1 + dims] int32, as a rehearsal finds them.

    Raises:
        NoVerdictError: nobody knows them.
    """
    gpu = current().gpu
    supplier = gpu.recorder.supplier
    known = supplier.copied(indices, question) if supplier and question else None
    if known is None:
        why = f" ({supplier.unrehearsed})" if isinstance(supplier, AssumedValues) else ""
        raise stopped(
            "which voxels a layer meets is not known, as the coordinates of its sparse tensor "
            f"depend on values of features, which nobody computed{why}",
            Remedy.VALUES,
        )
    with gpu.recorder.on_host():
        coordinates = known.to(indices.dtype)
    gpu.recorder.share(indices, coordinates)
    return coordinates


class _Top(InertModule):
    """`spconv` itself. Its layers are spconv 1's, and whoever names one there assumes that version.

    Attributes:
        first_generation: spconv 1's names, which spconv 2 keeps in `spconv.pytorch`.
    """

    first_generation: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name not in self.first_generation:
            return super().__getattr__(name)
        constants.FIRST_GENERATION = True
        note(
            f"{user_place(sys._getframe(1))}: layers come from `spconv` itself, so spconv 1 is "
            "assumed: its native algorithm, and a dense table of 4 bytes a cell for each rulebook"
        )
        return self.first_generation[name]


def _scatter_nd(indices: Tensor, updates: Tensor, shape: Any) -> Tensor:
    """spconv.pytorch.core.scatter_nd: zeros of `shape` with `updates` at the cells `indices`."""
    out = torch.zeros(*shape, dtype=updates.dtype, device=updates.device)
    flat = indices.view(-1, indices.shape[-1])
    out[tuple(flat[:, axis] for axis in range(flat.shape[-1]))] = updates
    return out


_HOST_VOXELIZERS = ("Point2VoxelCPU3d", "Point2VoxelCPU2d", "VoxelGenerator", "VoxelGeneratorV2")


def spconv_modules(
    sparse_tensor: type[_SparseConvTensor] = SparseConvTensor,
) -> dict[str, ModuleType]:
    """Modules by name, ready for sys.modules."""
    names = {**stub.NAMES, "SparseConvTensor": sparse_tensor}
    core = inert_with("spconv.core", ConvAlgo=ConvAlgo, AlgoHint=None)
    pytorch_core = inert_with(
        "spconv.pytorch.core", SparseConvTensor=sparse_tensor, scatter_nd=_scatter_nd
    )
    utils = inert_with(
        "spconv.pytorch.utils", PointToVoxel=HostVoxelizer, gather_features_by_pc_voxel_id=None
    )
    pytorch = inert_with("spconv.pytorch", core=pytorch_core, utils=utils, **names)
    old_utils = inert_with("spconv.utils", **dict.fromkeys(_HOST_VOXELIZERS, HostVoxelizer))
    top = filled(
        "spconv",
        _Top,
        first_generation=names,
        __version__=VERSION,
        constants=constants,
        core=core,
        pytorch=pytorch,
        utils=old_utils,
        ConvAlgo=ConvAlgo,
    )
    tensorview = inert_with("cumm.tensorview", from_numpy=from_numpy)
    found = {
        module.__name__: module
        for module in (top, core, pytorch, pytorch_core, utils, old_utils, tensorview)
    }
    found["spconv.constants"] = constants
    found["cumm"] = inert_with("cumm", tensorview=tensorview)
    for part in ("conv", "functional", "modules", "pool"):
        found[f"spconv.pytorch.{part}"] = stub.NAMES[part]
    return found
