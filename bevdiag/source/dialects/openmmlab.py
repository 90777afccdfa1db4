"""What both generations of OpenMMLab's code share: registries, mmcv's operators, the scene."""

import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from torch import nn

from bevdiag.scenes import ROOM_RANGE, SceneKind, fitting_kind
from bevdiag.source.dialects.python_configs import (
    COLUMNS,
    PythonConfig,
    cfg_options,
    plain,
    step_of,
)
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.state import note
from bevdiag.source.stubs.imports import StubFinder
from bevdiag.source.stubs.mmcv import mmcv_modules

_SPARSE = "mmcv.ops.sparse_"
"""How the modules of mmcv begin that hold sparse convolutions."""
_OWN_ALLOCATORS = {
    "MinkResNet": "MinkowskiEngine",
    "minkowski": "MinkowskiEngine",
    "torchsparse": "TorchSparse",
}
"""By what types and settings of a model contain."""
_UNBOUNDED = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
"""The range of a scene that no part of the config limits: nuScenes' usual one."""


class OpenMMLab(PythonConfig):
    """A Python config whose model, data set and transforms come from registries."""

    READER: ClassVar[str]
    """The module that has `Config` and `DictAction`."""

    @staticmethod
    @abstractmethod
    def required(name: str) -> Any:
        """Import a module of the packages that the generation stands on."""

    def read(self) -> Any:
        library = self.required(self.READER)
        config, parse = library.Config.fromfile(str(self._path)), library.DictAction._parse_iterable
        config.merge_from_dict({key: parse(value) for key, value in cfg_options(self._overrides)})
        return config

    def install(self) -> StubFinder:
        # mmdetection3d asks whether it is there, and takes mmcv's sparse convolutions if not.
        self._has_spconv = find_spec("spconv") is not None
        finder = self._stubs()
        sys.modules.update(mmcv_modules())
        if not self._has_spconv:
            for name in [name for name in sys.modules if name.partition(".")[0] == "spconv"]:
                del sys.modules[name]
        return finder

    def _stubs(self) -> StubFinder:
        return super().install()

    def note_sparse_convolutions(self, model: nn.Module) -> None:
        """Say whose run where spconv would."""
        if not self._has_spconv and is_sparse(model):
            note("spconv is not installed here, so mmcv's own sparse convolutions run in its place")


def is_sparse(model: nn.Module) -> bool:
    """Whether a model has layers of mmcv's own sparse convolutions."""
    return any(type(layer).__module__.startswith(_SPARSE) for layer in model.modules())


def training_set(config: Any, dataset: Any, name: str) -> Any:
    """Return the data set behind what repeats, balances or joins it.

    Args:
        config: the whole of it.
        dataset: what it trains on.
        name: where that is in it.

    Raises:
        NoVerdictError: the config trains on nothing.
    """
    if not dataset:
        raise stopped(f"there is no data set to train on ({name})", Remedy.CONFIG, place_in(config))
    while isinstance(dataset, (list, tuple)) or "dataset" in dataset or "datasets" in dataset:
        if isinstance(dataset, (list, tuple)):
            dataset = dataset[0]
        else:
            dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"]
    return dataset


def place_in(config: Any) -> str:
    """Return the file of a config."""
    return getattr(config, "filename", None) or "the config"


def scene_of(config: Any, dataset: Any, classes: Sequence[str]) -> dict[str, Any]:
    """Return what decides the scene, in plain values.

    Args:
        config: the whole of it.
        dataset: the part about the data set, without what repeats it.
        classes: their names.

    Raises:
        NoVerdictError: the model stands on a library whose memory is not modelled.
    """
    library = _library_of_its_own(config.model)
    if library:
        raise stopped(
            f"the model runs on {library}, which keeps memory in ways of its own that bevdiag does "
            "not model",
            Remedy.KERNEL,
            place_in(config),
        )
    transforms = dataset.get("pipeline") or config.get("train_pipeline") or []
    points = step_of(transforms, "LoadPointsFromFile")
    sweeps = step_of(transforms, "LoadPointsFromMultiSweeps")
    used = points.get("use_dim", 4)
    columns = len(used) if isinstance(used, (list, tuple)) else int(used)
    layer = _voxel_layer(config.model)
    return {
        "model": str(config.model["type"]),
        "dataset": str(dataset["type"]),
        "class_names": list(map(str, classes)),
        "features": list(COLUMNS[: max(columns, 3)]),
        "stored": list(COLUMNS[: int(points.get("load_dim", columns))]),
        "shuffled": bool(step_of(transforms, "PointShuffle")),
        "frames": 1 + int(sweeps.get("sweeps_num", 0)),
        "range": _range(config, dataset, transforms, layer),
        "voxel_size": plain(layer.get("voxel_size")),
        "max_points": int(layer.get("max_num_points", -1)),
        "max_voxels": plain(layer.get("max_voxels", -1)),
    }


def _library_of_its_own(model: Any) -> str:
    """Return the sparse library in the model that allocates for itself; empty without one."""
    if isinstance(model, Mapping):
        return next(filter(None, map(_library_of_its_own, model.values())), "")
    if isinstance(model, (list, tuple)):
        return next(filter(None, map(_library_of_its_own, model)), "")
    return next((_OWN_ALLOCATORS[part] for part in _OWN_ALLOCATORS if part in str(model)), "")


def _voxel_layer(model: Any) -> Any:
    """Return the settings of the voxels that hold points, wherever the model keeps them."""
    preprocessor = model.get("data_preprocessor") or {}
    for holder in (preprocessor, preprocessor.get("voxelize_cfg") or {}, model):
        for name in ("voxel_layer", "pts_voxel_layer"):
            if holder.get(name):
                return holder[name]
    return preprocessor.get("voxelize_cfg") or {}


def _range(config: Any, dataset: Any, transforms: Sequence[Any], layer: Any) -> list[float]:
    filtered = step_of(transforms, "PointsRangeFilter").get("point_cloud_range")
    found = filtered or config.get("point_cloud_range") or layer.get("point_cloud_range")
    indoor = fitting_kind(_UNBOUNDED, str(dataset["type"])) is SceneKind.ROOM
    return [float(value) for value in found or (ROOM_RANGE if indoor else _UNBOUNDED)]
