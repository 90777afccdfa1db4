"""What bevdiag itself needs of a config of MMEngine; all of it is read in the child process.

A Python config is code. What the parent learns of it is the plain description made here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bevdiag.errors import InputError
from bevdiag.scenes import ROOM_RANGE, SceneKind, fitting_kind
from bevdiag.source.dialects import python_configs
from bevdiag.source.dialects.python_configs import COLUMNS, plain, step_of
from bevdiag.source.failures import Remedy, stopped

_AUTOCASTS = {"bfloat16": "bf16"}
_OWN_ALLOCATORS = {
    "MinkResNet": "MinkowskiEngine",
    "minkowski": "MinkowskiEngine",
    "torchsparse": "TorchSparse",
}
"""By what types and settings of a model contain."""
_UNBOUNDED = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
"""The range of a scene that no part of the config limits: nuScenes' usual one."""


def required(name: str) -> Any:
    """Import a module of the packages that this family stands on.

    Raises:
        NoVerdictError: it is not installed where bevdiag runs.
    """
    return python_configs.required(name, "mmengine, mmcv or mmcv-lite, and mmdet")


def read_config(path: Path, overrides: Sequence[str]) -> Any:
    """Read the config as MMEngine's scripts do, with `KEY=value` texts as --cfg-options.

    Raises:
        InputError: an override is no `KEY=value`.
    """
    module = required("mmengine.config")
    config = module.Config.fromfile(str(path))
    options = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--cfg-options {text}: expected KEY=value")
        options[key.strip()] = module.DictAction._parse_iterable(value)
    config.merge_from_dict(options)
    return config


def training_set(config: Any) -> Any:
    """Return the data set behind what repeats, balances or joins it.

    Raises:
        NoVerdictError: the config trains nothing.
    """
    if not (config.get("train_dataloader") or {}).get("dataset"):
        older = ", only one of before MMEngine, data.train" if config.get("data") else ""
        raise stopped(
            f"there is no data set to train on (train_dataloader.dataset){older}",
            Remedy.CONFIG,
            getattr(config, "filename", None) or "the config",
        )
    found = config.train_dataloader.dataset
    while "dataset" in found or "datasets" in found:
        found = found.dataset if "dataset" in found else found.datasets[0]
    return found


def _library_of_its_own(model: Any) -> str:
    """Return the sparse library in the model that allocates for itself; empty without one."""
    if isinstance(model, Mapping):
        return next(filter(None, map(_library_of_its_own, model.values())), "")
    if isinstance(model, (list, tuple)):
        return next(filter(None, map(_library_of_its_own, model)), "")
    return next((_OWN_ALLOCATORS[part] for part in _OWN_ALLOCATORS if part in str(model)), "")


def described(config: Any) -> dict[str, Any]:
    """Describe the config in plain values: what decides the scene and the step beside the model.

    Raises:
        NoVerdictError: the model stands on a library whose memory is not modelled.
    """
    library = _library_of_its_own(config.model)
    if library:
        raise stopped(
            f"the model runs on {library}, which keeps memory in ways of its own that bevdiag does "
            "not model",
            Remedy.KERNEL,
            getattr(config, "filename", None) or "the config",
        )
    dataset = training_set(config)
    transforms = dataset.get("pipeline") or config.get("train_pipeline") or []
    points = step_of(transforms, "LoadPointsFromFile")
    sweeps = step_of(transforms, "LoadPointsFromMultiSweeps")
    used = points.get("use_dim", 4)
    columns = len(used) if isinstance(used, (list, tuple)) else int(used)
    wrapper = config.get("optim_wrapper") or {}
    layer = _voxel_layer(config.model)
    return {
        "model": str(config.model["type"]),
        "dataset": str(dataset["type"]),
        "class_names": list(map(str, _class_names(config, dataset))),
        "features": list(COLUMNS[: max(columns, 3)]),
        "stored": list(COLUMNS[: int(points.get("load_dim", columns))]),
        "shuffled": bool(step_of(transforms, "PointShuffle")),
        "frames": 1 + int(sweeps.get("sweeps_num", 0)),
        "range": _range(config, transforms, layer),
        "voxel_size": plain(layer.get("voxel_size")),
        "max_points": int(layer.get("max_num_points", -1)),
        "max_voxels": plain(layer.get("max_voxels", -1)),
        "batch_size": int(config.train_dataloader.get("batch_size", 1)),
        "batch_key": ["train_dataloader", "batch_size"],
        "half_precision": (("optim_wrapper", "type"), "AmpOptimWrapper"),
        "optimizer": str((wrapper.get("optimizer") or {}).get("type", "")),
        "autocast": _autocast(wrapper),
    }


def _voxel_layer(model: Any) -> Any:
    """Return the settings of the voxels that hold points, wherever the model keeps them."""
    preprocessor = model.get("data_preprocessor") or {}
    for holder in (preprocessor, preprocessor.get("voxelize_cfg") or {}, model):
        for name in ("voxel_layer", "pts_voxel_layer"):
            if holder.get(name):
                return holder[name]
    return preprocessor.get("voxelize_cfg") or {}


def _range(config: Any, transforms: Sequence[Any], layer: Any) -> list[float]:
    filtered = step_of(transforms, "PointsRangeFilter").get("point_cloud_range")
    found = filtered or config.get("point_cloud_range") or layer.get("point_cloud_range")
    indoor = fitting_kind(_UNBOUNDED, str(training_set(config)["type"])) is SceneKind.ROOM
    return [float(value) for value in found or (ROOM_RANGE if indoor else _UNBOUNDED)]


def _class_names(config: Any, dataset: Any) -> Sequence[str]:
    named = (dataset.get("metainfo") or {}).get("classes") or config.get("class_names")
    return named or dataset.get("classes") or _own_classes(str(dataset["type"]))


def _own_classes(name: str) -> Sequence[str]:
    """Those that the class of a data set names itself, for configs that name none."""
    required("mmdet3d.utils").register_all_modules(init_default_scope=True)
    found = required("mmdet3d.registry").DATASETS.get(name)
    classes: Sequence[str] = getattr(found, "METAINFO", {}).get("classes", ())
    return classes


def uses_amp(wrapper: Mapping[str, Any]) -> bool:
    """Whether a wrapper trains in mixed precision, which takes a GradScaler with it."""
    return "Amp" in str(wrapper.get("type", ""))


def _autocast(wrapper: Mapping[str, Any]) -> str:
    if not uses_amp(wrapper):
        return "off"
    return _AUTOCASTS.get(str(wrapper.get("dtype")), "fp16")
