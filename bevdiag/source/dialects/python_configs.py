"""What families whose configs are Python code share: what the parent learns of such a config."""

import collections.abc
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bevdiag.config import Document, tree
from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.errors import ConfigError, Location, NoVerdictError
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import current, note
from bevdiag.trace.assumed_values import AssumedValues

COLUMNS = ("x", "y", "z", "intensity", "timestamp", "elongation")
"""Of a point, in the order in which data sets take them."""
_OPTIMIZERS = ("adam", "adamw", "sgd")


def required(name: str, needs: str) -> Any:
    """Import a module of the packages that a family stands on.

    Args:
        name: of the module.
        needs: the packages that this family's code imports.

    Raises:
        NoVerdictError: it is not installed where bevdiag runs.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise NoVerdictError(
            f"{error.name} is not installed where bevdiag runs: this repository's code needs "
            f"{needs} in the same environment"
        ) from error


def step_of(transforms: Iterable[Any], name: str) -> Any:
    """Return the first transform whose type's name ends so; an empty mapping without one."""
    return next((step for step in transforms if str(step["type"]).endswith(name)), {})


def plain(value: Any) -> Any:
    """Return a sequence of any kind as a list."""
    return list(value) if isinstance(value, (list, tuple)) else value


def as_old_python() -> None:
    """Give back what code for Python before 3.10 and numba before 0.59 asks for.

    Newer ones of numba refuse kernels that those compiled: they run as the Python that they are.
    """
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    for name in collections.abc.__all__:
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    with suppress(ImportError):
        sys.modules["numba.errors"] = importlib.import_module("numba.core.errors")


class HookedGradients:
    """Gradients that a trainer's hook frees between forward and backward, not after the update."""

    _held: tuple[nn.Module, torch.optim.Optimizer] | None = None

    def keep(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Let the update leave them."""
        optimizer.zero_grad = _nothing  # type: ignore[method-assign]
        self._held = model, optimizer

    def free(self, model: nn.Module) -> None:
        """Drop those of a model that is trained."""
        if self._held is not None and self._held[0] is model:
            optimizer = self._held[1]
            type(optimizer).zero_grad(optimizer)


def _nothing(set_to_none: bool = True) -> None:
    pass


def no_evaluation(path: Path) -> NoVerdictError:
    """Return the error for an evaluated model of a config."""
    return stopped(
        "of Python configs the training step is predicted, as evaluation has a pipeline of its own",
        Remedy.TRAINING,
        str(path),
    )


def without_weights(model: Any) -> Any:
    """Return the same model; it keeps the weights that it is made with, and that is noted."""
    for key, value in list(model.items()):
        if value and (key == "pretrained" or (key == "init_cfg" and "Pretrained" in str(value))):
            named = value.get("checkpoint", value) if isinstance(value, Mapping) else value
            note(
                f"weights ({named}) were not loaded; the model keeps those it was made with, "
                "which take the same memory"
            )
            model[key] = None
            continue
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(part, Mapping):
                without_weights(part)
    return model


def leave_unmeasured(what: str) -> None:
    """Withhold the verdict of the step that runs.

    Args:
        what: of which no prediction was held against a measurement.
    """
    values = current().values
    if isinstance(values, AssumedValues):
        values.leave_open(f"{what}: no prediction for one was held against a measured step yet")


def settings_of(path: Path, said: Mapping[str, Any], split: str) -> SourceSettings:
    """Return a description as the settings of a repository's config.

    Raises:
        ConfigError: the config names no classes.
    """
    where = Location(path, 1, 1)
    if not said["class_names"]:
        raise ConfigError("expected the data set's classes", location=where, key="class_names")
    root = tree.located(
        {
            "CLASS_NAMES": said["class_names"],
            "MODEL": {"NAME": said["model"]},
            "DATA_CONFIG": {
                "DATASET": said["dataset"],
                "POINT_FEATURE_ENCODING": {"src_feature_list": said["stored"]},
                "MAX_SWEEPS": said["frames"],
            },
        },
        where,
    )
    assert isinstance(root, tree.Section)
    most, size = said["max_voxels"], said["voxel_size"]
    optimizer = said["optimizer"].lower()
    if isinstance(most, (list, tuple)):
        most = most[0] if split == "train" else most[1]
    padded = said["max_points"] > 0 and most > 0
    low_x, low_y, low_z, *high = map(float, said["range"])
    bounds = (low_x, low_y, low_z, high[0], high[1], high[2])
    grid = None
    if size is not None:
        extent = np.subtract(bounds[3:], bounds[:3])
        x, y, z = (max(int(n), 1) for n in np.round(extent / np.asarray(size, np.float64)))
        grid = (x, y, z)
    return SourceSettings(
        path=path,
        document=Document(root),
        class_names=tuple(said["class_names"]),
        point_features=tuple(said["features"]),
        point_cloud_range=bounds,
        voxel_size=None if size is None else (float(size[0]), float(size[1]), float(size[2])),
        grid_size=grid,
        max_points=said["max_points"] if padded else None,
        max_voxels=int(most) if padded else None,
        num_sampled_points=None,
        depth_downsample_factor=None,
        box_size=9 if "NuScenes" in said["dataset"] else 7,
        optimization=OptimizationSettings(
            batch_size_per_gpu=said["batch_size"],
            optimizer=optimizer if optimizer in _OPTIMIZERS else "adamw",
            use_amp=said["autocast"] != "off",
        ),
        batch_key=tuple(said["batch_key"]),
        half_precision=said["half_precision"],
        is_code=True,
    )
