"""What bevdiag itself needs of a config of MMEngine; all of it is read in the child process.

A Python config is code. What the parent learns of it is the plain description made here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bevdiag.source.dialects import openmmlab, python_configs
from bevdiag.source.dialects.openmmlab import scene_of

_AUTOCASTS = {"bfloat16": "bf16"}


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
    return openmmlab.read_config(required("mmengine.config"), path, overrides)


def training_set(config: Any) -> Any:
    """Return the data set behind what repeats, balances or joins it.

    Raises:
        NoVerdictError: the config trains on nothing.
    """
    older = "; only one of before MMEngine, data.train" if config.get("data") else ""
    found = (config.get("train_dataloader") or {}).get("dataset")
    return openmmlab.training_set(config, found, f"train_dataloader.dataset{older}")


def described(config: Any) -> dict[str, Any]:
    """Describe the config in plain values: what decides the scene and the step beside the model.

    Raises:
        NoVerdictError: the model stands on a library whose memory is not modelled.
    """
    dataset, wrapper = training_set(config), config.get("optim_wrapper") or {}
    return {
        **scene_of(config, dataset, _class_names(config, dataset)),
        "batch_size": int(config.train_dataloader.get("batch_size", 1)),
        "batch_key": ["train_dataloader", "batch_size"],
        "half_precision": (("optim_wrapper", "type"), "AmpOptimWrapper"),
        "optimizer": str((wrapper.get("optimizer") or {}).get("type", "")),
        "autocast": _autocast(wrapper),
    }


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
