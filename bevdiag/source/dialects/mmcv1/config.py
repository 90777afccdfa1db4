"""What bevdiag itself needs of a config of mmcv 1.x; but for its names, it is read in the child.

Whether a config is mmcv's or MMEngine's is seen from the names that it sets, without running it.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bevdiag.source.dialects import openmmlab, python_configs
from bevdiag.source.dialects.openmmlab import scene_of

_OWN, _LATER = {"data"}, {"train_dataloader", "optim_wrapper", "default_scope"}
"""Names that only configs of mmcv 1.x set, and that only later ones do."""
_MOST_BASES = 32


def required(name: str) -> Any:
    """Return a module of the packages that this family stands on.

    Raises:
        NoVerdictError: it is not installed where bevdiag runs.
    """
    return python_configs.required(name, "mmcv or mmcv-full 1.x, mmdet 2.x and mmdet3d before 1.1")


def is_of_mmcv(path: Path) -> bool:
    """Whether a config, with those that it is based on, sets what mmcv 1.x reads."""
    names: set[str] = set()
    due, seen = [path], 0
    while due and seen < _MOST_BASES:
        seen += 1
        config = due.pop()
        try:
            body = ast.parse(config.read_text(encoding="utf-8")).body
        except (OSError, SyntaxError, ValueError):
            continue
        for node in body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names.add(node.targets[0].id)
                if node.targets[0].id == "_base_":
                    due += [config.parent / base for base in _texts(node.value)]
    return bool(names & _OWN) and not names & _LATER


def _texts(node: ast.expr) -> list[str]:
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def read_config(path: Path, overrides: Sequence[str]) -> Any:
    """Read the config as mmcv's scripts do, with `KEY=value` texts as --cfg-options.

    Raises:
        InputError: an override is no `KEY=value`.
    """
    return openmmlab.read_config(required("mmcv.utils.config"), path, overrides)


def training_set(config: Any) -> Any:
    """Return the data set behind what repeats, balances or joins it.

    Raises:
        NoVerdictError: the config trains on nothing.
    """
    return openmmlab.training_set(config, (config.get("data") or {}).get("train"), "data.train")


def described(config: Any) -> dict[str, Any]:
    """Return the config in plain values: what decides the scene and the step beside the model.

    Raises:
        NoVerdictError: the model stands on a library whose memory is not modelled.
    """
    dataset = training_set(config)
    return {
        **scene_of(config, dataset, _class_names(config, dataset)),
        "batch_size": int(config.data.get("samples_per_gpu", 1)),
        "batch_key": ["data", "samples_per_gpu"],
        "half_precision": (("fp16", "loss_scale"), 512.0),
        "optimizer": str((config.get("optimizer") or {}).get("type", "")),
        "autocast": "fp16" if uses_half(config) else "off",
    }


def _class_names(config: Any, dataset: Any) -> Sequence[str]:
    named = dataset.get("classes") or config.get("class_names")
    if isinstance(named, (list, tuple)):
        return named
    # A file of names, or those that the class of the data set has for configs that name none.
    known = class_of(dataset)
    return [] if known is None else list(known.get_classes(named))


def registry_of(dataset: Any) -> Any:
    """Return the registry that has a data set's class: mmdetection3d's own, or mmdet's."""
    own = required("mmdet3d.datasets").DATASETS
    return own if own.get(dataset["type"]) else required("mmdet.datasets").DATASETS


def class_of(dataset: Any) -> Any:
    """Return the class of a data set, by its name in the registry."""
    return registry_of(dataset).get(dataset["type"])


def hook_of(config: Any) -> Mapping[str, Any]:
    """Return the settings of the hook that goes backward and updates."""
    return config.get("optimizer_config") or {}


def uses_half(config: Any) -> bool:
    """Whether the step runs in half precision, which takes a GradScaler with it."""
    return config.get("fp16") is not None or "Fp16" in str(hook_of(config).get("type", ""))
