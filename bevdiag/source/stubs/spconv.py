"""The modules `spconv` and `cumm` as detectors import them, on bevdiag's own stub."""

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.scenes.batch import voxelize
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.state import current, note
from bevdiag.source.stubs.inert import InertModule, filled, package
from bevdiag.sparse import constants, stub
from bevdiag.sparse.conv import expand_nd
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
        features = current().valueless(features)
        # Asked in any case: a rehearsal, which has the values, has to know that they are wanted.
        question = current().recorder.asked("copy", indices)
        if indices.is_meta:
            indices = _rehearsed_coordinates(indices, question)
        super().__init__(features, indices, *args, **kwargs)


def _rehearsed_coordinates(indices: Tensor, question: Question) -> Tensor:
    """Coordinates that features decide, [N, 1 + dims] int32, as a rehearsal finds them.

    Raises:
        NoVerdictError: nobody knows them.
    """
    gpu = current()
    supplier = gpu.recorder.values
    known = supplier.copied(indices, question)
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


class TensorViewArray(np.ndarray[Any, Any]):
    """An array as cumm's tensorview hands it out."""

    def numpy(self) -> NDArray[Any]:
        """Return a NumPy array."""
        return np.asarray(self)

    numpy_view = numpy


def from_numpy(values: Any) -> Any:
    """cumm.tensorview.from_numpy."""
    return np.asarray(values).view(TensorViewArray)


class HostVoxelizer:
    """`Point2VoxelCPU3d` of spconv 2, and `VoxelGenerator` of spconv 1.

    Args:
        named: the settings under the names of either.
    """

    def __init__(self, *_: Any, **named: Any) -> None:
        self._size = _either(named, "vsize_xyz", "voxel_size")
        self._range = tuple(map(float, _either(named, "coors_range_xyz", "point_cloud_range")))
        points = int(_either(named, "max_num_points_per_voxel", "max_num_points"))
        self._max_voxels = int(_either(named, "max_num_voxels", "max_voxels"))
        extent = np.subtract(self._range[3:], self._range[:3])
        self._grid = tuple(int(n) for n in np.round(extent / np.asarray(self._size, np.float64)))
        self._max_points = points

    def generate(self, points: Any, max_voxels: int | None = None) -> Any:
        """Voxels [M, P, F], their z, y, x [M, 3] and their numbers of points [M]."""
        cloud = np.asarray(points, np.float32)
        found = voxelize(
            cloud,
            self._range,  # type: ignore[arg-type]
            self._size,
            self._grid,
            self._max_points if self._max_points > 0 else max(len(cloud), 1),
            max_voxels or self._max_voxels,
        )
        return found.padded(), found.coords, found.num_points

    def point_to_voxel(self, points: Any, *_: Any, **__: Any) -> Any:
        """Voxelize into arrays of tensorview."""
        return tuple(from_numpy(part) for part in self.generate(points))


def _either(named: dict[str, Any], new: str, old: str) -> Any:
    return named[new] if new in named else named[old]


_HOST_VOXELIZERS = ("Point2VoxelCPU3d", "Point2VoxelCPU2d", "VoxelGenerator", "VoxelGeneratorV2")


def spconv_modules(
    sparse_tensor: type[_SparseConvTensor] = SparseConvTensor,
) -> dict[str, ModuleType]:
    """Modules by name, ready for sys.modules."""
    names = {**stub.NAMES, "SparseConvTensor": sparse_tensor}
    found = package(
        {
            "spconv.core": {"ConvAlgo": ConvAlgo, "AlgoHint": None},
            "spconv.pytorch": names,
            "spconv.pytorch.core": {
                "SparseConvTensor": sparse_tensor,
                "expand_nd": expand_nd,
                "scatter_nd": _scatter_nd,
            },
            "spconv.pytorch.utils": {
                "PointToVoxel": HostVoxelizer,
                "gather_features_by_pc_voxel_id": None,
            },
            "spconv.utils": dict.fromkeys(_HOST_VOXELIZERS, HostVoxelizer),
            "cumm": {},
            "cumm.tensorview": {"from_numpy": from_numpy},
        }
    )
    found["spconv.constants"] = constants
    inside = {name.removeprefix("spconv."): module for name, module in found.items()}
    found["spconv"] = filled(
        "spconv",
        _Top,
        first_generation=names,
        __version__=VERSION,
        ConvAlgo=ConvAlgo,
        **{part: inside[part] for part in ("constants", "core", "pytorch", "utils")},
    )
    for part in ("conv", "functional", "modules", "pool"):
        found[f"spconv.pytorch.{part}"] = stub.NAMES[part]
    return found
