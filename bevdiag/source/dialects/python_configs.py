"""What families whose configs are Python code share: the config, its pipeline, the trainer's hooks.

A config is run in a child process; the parent learns of it what a scene is made from. The config's
own training pipeline then makes the batch of the scene, at rest: nothing is moved at random.
"""

import collections.abc
import importlib
import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from bevdiag.config import Document, tree
from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.errors import ConfigError, InputError, Location, NoVerdictError
from bevdiag.scenes import Batch
from bevdiag.source import build
from bevdiag.source.dialects.protocol import Dialect, Loaded, Supply
from bevdiag.source.failures import Remedy, failed, stopped
from bevdiag.source.saved_batch import SavedBatch, floats
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import current, note
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

COLUMNS = ("x", "y", "z", "intensity", "timestamp", "elongation")
"""Of a point, in the order in which data sets take them."""
_OPTIMIZERS = ("adam", "adamw", "sgd")
_AT_REST: dict[str, Callable[[Any], Any]] = {
    "rot_range": lambda value: [0.0, 0.0],
    "scale_ratio_range": lambda value: [1.0, 1.0],
    "translation_std": lambda value: [0.0, 0.0, 0.0] if isinstance(value, (list, tuple)) else 0.0,
    "global_rot_noise": lambda value: [0.0, 0.0],
    "global_scale_noise": lambda value: [1.0, 1.0],
    "global_translate_std": lambda value: 0.0,
}
"""Settings of transforms, by their names, which leave a frame where it is."""
_LEFT_OUT = {
    "ObjectSample": "it pastes objects of a database that is part of the data set",
    "ObjectNoise": "it moves each object a little",
}
"""Transforms that are not run, by what their names end in."""


class PythonConfig(Dialect):
    """A repository whose configs are Python code.

    Args:
        config: the Python config, an absolute path.
        overrides: `KEY=value` texts, read as --cfg-options.
    """

    SUPPLY: ClassVar[type["PipelineSupply"]]
    NO_BATCH: ClassVar[str]
    """Why no file holds a batch of this family."""
    _config: Any
    """As the family's code has read it, once `open` was called."""

    _trained: tuple[nn.Module, torch.optim.Optimizer] | None = None

    def __init__(self, root: Path, config: Path, overrides: Sequence[str]) -> None:
        super().__init__(root)
        self._path = config
        self._overrides = tuple(overrides)

    @abstractmethod
    def read(self) -> Any:
        """Read the config as the family's scripts do, then the overrides."""

    @abstractmethod
    def described(self, config: Any) -> dict[str, Any]:
        """Describe a config in plain values: what decides the scene and the step beside the model.

        Raises:
            NoVerdictError: it trains nothing, or its step is not modelled.
        """

    def settings(self, split: str) -> SourceSettings:
        return settings_of(self._path, self.described(self.read()), split)

    def supply(self, scene: Batch | SavedBatch, findings: list[str], *, loads: bool) -> Supply:
        if isinstance(scene, SavedBatch):
            raise InputError(
                f"--batch {scene.path}: {self.NO_BATCH}: leave it out, or give model and batch "
                "with --entry"
            )
        return self.SUPPLY(scene, self._config, findings)

    def predictions(self, model: nn.Module, batch: WatchedBatch) -> Any:
        raise stopped(
            "of Python configs the training step is predicted, as evaluation has a pipeline of its "
            "own",
            Remedy.TRAINING,
            str(self._path),
        )

    def keep_gradients(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Let the update leave gradients, for a trainer whose hook frees them before backward."""
        optimizer.zero_grad = lambda set_to_none=True: None  # type: ignore[method-assign]
        self._trained = model, optimizer

    def free_gradients(self, model: nn.Module) -> None:
        """Drop the gradients that the update left, between forward and backward."""
        if self._trained is not None and self._trained[0] is model:
            optimizer = self._trained[1]
            type(optimizer).zero_grad(optimizer)


# -- the config ------------------------------------------------------------------------------------


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


def cfg_options(overrides: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield key and value, as text, of each override.

    Raises:
        InputError: one is no `KEY=value`.
    """
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--cfg-options {text}: expected KEY=value")
        yield key.strip(), value


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


def with_loop(options: StepOptions, *, scales: bool, counts: int, clips: bool) -> StepOptions:
    """Return the options of a step with what a config says of the loop around it.

    Args:
        options: what they name stands.
        scales: whether a GradScaler is used.
        counts: batches that are added up before an update.
        clips: whether gradients are clipped.
    """
    loop = options.loop
    return replace(
        options,
        loop=replace(
            loop,
            scaler=loop.scaler or scales,
            accumulate=loop.accumulate if loop.accumulate != 1 else counts,
        ),
        clips=clips,
    )


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


# -- the batch -------------------------------------------------------------------------------------


class PipelineSupply(Supply):
    """The batches of a scene.

    Args:
        scene: points and boxes.
        config: the config as the family's code has read it.
        findings: gets a sentence for what was left out.
    """

    def __init__(self, scene: Batch, config: Any, findings: list[str]) -> None:
        self.scene = self.prepared(scene)
        self.config = config
        self.own: dict[str, Any] = {}
        self._findings = findings

    def load(self) -> None:
        """Run the pipeline once for each sample.

        Raises:
            NoVerdictError: it fails; there is no other way to such a batch.
        """
        with build.real_values():
            try:
                self.own = self.collated()
            except Exception as error:
                failure = failed(error, ())
                failure.args = (
                    "the config's own training pipeline does not run on a synthetic sample: "
                    f"{failure}",
                )
                raise failure from error

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        boxes = floats(self.scene.gt_boxes)
        return Loaded(dict(self.own), boxes)

    @staticmethod
    def prepared(scene: Batch) -> Batch:
        """Return the scene as the family's pipelines take it."""
        return scene

    @abstractmethod
    def collated(self) -> dict[str, Any]:
        """Run the pipeline for each sample, and join the samples with the family's own code."""

    def kept(self, transforms: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the transforms that are run, at rest; the others are said to be left out."""
        kept = []
        for step in transforms:
            name = str(step["type"])
            why = next((_LEFT_OUT[end] for end in _LEFT_OUT if name.endswith(end)), None)
            if why is None:
                kept.append(at_rest(step))
            else:
                self.leave_out(name, why)
        return kept

    def leave_out(self, name: str, why: str) -> None:
        """Say once that a transform is not run."""
        sentence = f"{name} was left out: {why}"
        if sentence not in self._findings:
            self._findings.append(sentence)


def at_rest(step: Mapping[str, Any]) -> dict[str, Any]:
    """No rotation, scaling or shift at random: the frame stays the one that was given."""
    return {key: _AT_REST[key](value) if key in _AT_REST else value for key, value in step.items()}
