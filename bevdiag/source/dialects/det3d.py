"""det3d's conventions: Python configs, a pipeline that voxelizes, `return_loss=True`, one cycle."""

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from bevdiag.errors import InputError
from bevdiag.source.dialects import python_configs
from bevdiag.source.dialects.protocol import Supply
from bevdiag.source.dialects.python_configs import (
    COLUMNS,
    PipelineSupply,
    PythonConfig,
    as_old_python,
    at_rest,
    cfg_options,
    leave_unmeasured,
    plain,
    step_of,
    without_weights,
)
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.stubs.imports import StubFinder
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_PACKAGE = "det3d"
_BATCH = "example"
_LOADED = "LoadPointCloud"
"""What the transforms are called that read the data set's files."""
_COORDINATES = 3
_SAMPLER = "build_dbsampler"
_WITHOUT_SPEEDS = "kitti"
"""The data set whose labels have no speeds; what every other's class leaves out are zeros."""
_PASTES = ("GT-AUG", "it pastes objects of a database that is part of the data set")


required = partial(
    python_configs.required, needs="addict and what else the repository's code imports"
)


class Det3dSupply(PipelineSupply):
    """The batches of a scene, as the pipeline has them once files are read."""

    def counts(self) -> tuple[int | None, int | None]:
        example = self.own[_BATCH]
        voxels = example.get("voxels")
        return sum(map(len, example["points"])), None if voxels is None else len(voxels)

    def collated(self) -> dict[str, Any]:
        dataset = self.config["data"]["train"]
        steps = []
        for step in deepcopy(dataset["pipeline"]):
            if str(step["type"]).startswith(_LOADED):
                continue
            if step.get("cfg"):
                if step["cfg"].get("db_sampler"):
                    self.leave_out(*_PASTES)
                step["cfg"].update(at_rest(step["cfg"]))
            steps.append(step)
        pipelines = required(f"{_PACKAGE}.datasets.pipelines")
        for module in [module for name, module in sys.modules.items() if name.startswith(_PACKAGE)]:
            if hasattr(module, _SAMPLER):
                setattr(module, _SAMPLER, lambda *_, **__: None)
        run = pipelines.Compose(steps)
        samples = [run(*self._loaded(index, dataset))[0] for index in range(self.scene.batch_size)]
        return {_BATCH: required(f"{_PACKAGE}.torchie.parallel").collate_kitti(samples)}

    def _loaded(self, index: int, dataset: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the transforms that read files leave of a frame, and its info."""
        cloud = self.scene.points[self.scene.points[:, 0] == index, 1:]
        points = np.zeros((len(cloud), _num_features(self.config)), np.float32)
        points[:, : cloud.shape[1]] = cloud
        labelled = np.asarray(self.scene.gt_boxes[index], np.float32)
        labelled = labelled[labelled[:, -1] > 0]
        x, y, z, length, width, height, heading, *speed, kind = labelled.T
        speeds = speed[:2] or [np.zeros_like(x)] * 2
        if str(dataset["type"]).lower().startswith(_WITHOUT_SPEEDS):
            speeds = []
        boxes = np.stack((x, y, z, width, length, height, *speeds, -heading - np.pi / 2), axis=1)
        names = np.array(_class_names(self.config, dataset))
        info = {"token": str(index)}
        metadata = {"image_prefix": "", "num_point_features": points.shape[1], **info}
        annotations = {"boxes": boxes, "names": names[kind.astype(np.int64) - 1]}
        return {
            "type": str(dataset["type"]),
            "lidar": {
                "type": "lidar",
                "points": points,
                "combined": points,
                "nsweeps": _frames(self.config, dataset),
                "annotations": annotations,
            },
            "metadata": metadata,
            "calib": None,
            "cam": {},
            "mode": "train",
            "virtual": bool(dataset.get("virtual", False)),
        }, info


class Det3d(PythonConfig):
    """The package `det3d` in the repository, and its Python configs.

    A list's entry has its number for a key in the overrides.
    """

    SUPPLY = Det3dSupply
    NO_BATCH = "det3d's own pipeline makes the batch of its configs"

    @classmethod
    def recognise(cls, root: Path, config: Path) -> bool:
        """Whether a Python config is det3d's; nothing is run."""
        return config.suffix == ".py" and (root / _PACKAGE / "torchie").is_dir()

    def install(self) -> StubFinder:
        as_old_python()
        return super().install()

    def described(self, config: Any) -> dict[str, Any]:
        data = config.get("data") or {}
        dataset = data.get("train")
        if not dataset:
            raise stopped(
                "there is no data set to train on (data.train)", Remedy.CONFIG, str(self._path)
            )
        voxels = step_of(dataset.get("pipeline") or [], "Voxelization").get("cfg") or {}
        reader = _reader(config["model"])
        bounds = voxels.get("range") or reader.get("pc_range")
        if not bounds:
            raise stopped(
                "there is no range of points: neither Voxelization in data.train.pipeline nor the "
                "model's reader has one",
                Remedy.CONFIG,
                str(self._path),
            )
        features = list(COLUMNS[: _num_features(config)])
        return {
            "model": str(config["model"]["type"]),
            "dataset": str(dataset["type"]),
            "class_names": list(map(str, _class_names(config, dataset))),
            "features": features,
            "stored": features,
            "frames": _frames(config, dataset),
            "range": [float(value) for value in bounds],
            "voxel_size": plain(voxels.get("voxel_size") or reader.get("voxel_size")),
            "max_points": int(voxels.get("max_points_in_voxel", -1)),
            "max_voxels": plain(voxels.get("max_voxel_num", -1)),
            "batch_size": int(data.get("samples_per_gpu", 1)),
            "batch_key": ["data", "samples_per_gpu"],
            "half_precision": None,
            "optimizer": str((config.get("optimizer") or {}).get("type", "")),
            "autocast": "off",
        }

    def open(self) -> None:
        self._config = self.read()
        for name in ("models", "datasets.pipelines", "torchie.apis.train"):
            required(f"{_PACKAGE}.{name}")

    def build(self, supply: Supply) -> nn.Module:
        config = {key: deepcopy(self._config[key]) for key in ("model", "train_cfg", "test_cfg")}
        config["cfg"] = without_weights(config.pop("model"))
        model: nn.Module = required(f"{_PACKAGE}.models").build_detector(**config)
        return model.cuda()

    def loss(self, model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
        """Return the loss of the trainer's `batch_processor_inline`."""
        leave_unmeasured("models of det3d")
        trainer = required(f"{_PACKAGE}.torchie.trainer.trainer")
        moved = trainer.example_to_device(batch[_BATCH], torch.cuda.current_device())
        loss: torch.Tensor = trainer.parse_second_losses(model(moved, return_loss=True))[0]
        self.free_gradients(model)
        return loss

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """Build what `train_detector` does; its wrapper changes values in place, keeps nothing."""
        train, config = required(f"{_PACKAGE}.torchie.apis.train"), self._config
        settings, schedule = config.get("optimizer"), config.get("lr_config") or {}
        if not settings:
            return None
        optimizer: torch.optim.Optimizer
        if "TYPE" in settings:  # as it was before the schedule named it
            optimizer = train.build_fastai_optimizer(settings, model).opt
        elif schedule.get("type") == "one_cycle":
            optimizer = train.build_one_cycle_optimizer(model, settings).opt
        else:
            optimizer = train.build_optimizer(model, settings)
        self.keep_gradients(model, optimizer)
        return optimizer

    def options(self, options: StepOptions) -> StepOptions:
        """With the clipping of the trainer's hook, where it has one.

        Raises:
            InputError: gradients are to be added up, which this trainer does not.
        """
        if options.loop.accumulate > 1:
            raise InputError(
                "--accumulate: the trainer of det3d updates after each batch: leave it out"
            )
        hook = self._config.get("optimizer_config") or {}
        return replace(options, clips=bool(hook.get("grad_clip")))

    def read(self) -> Any:
        config = required(f"{_PACKAGE}.torchie").Config.fromfile(str(self._path))._cfg_dict
        for key, value in cfg_options(self._overrides):
            *above, last = key.split(".")
            holder = config
            try:
                for part in above:
                    holder = holder[int(part) if isinstance(holder, list) else part]
                holder[int(last) if isinstance(holder, list) else last] = yaml.safe_load(value)
            except yaml.YAMLError as error:
                raise InputError(f"--cfg-options {key}={value}: the value is no YAML") from error
            except (LookupError, TypeError, ValueError) as error:
                raise InputError(f"--cfg-options {key}={value}: the config has no {key}") from error
        return config


def _reader(model: Any) -> Any:
    """Return the settings of the part of a detector that sees points."""
    return (model.get("first_stage_cfg") or model).get("reader") or {}


def _num_features(config: Mapping[str, Any]) -> int:
    """Columns of a point, as the model's reader expects them.

    Fewer than there are coordinates are what a point has beside these.
    """
    count = int(_reader(config["model"]).get("num_input_features") or len(COLUMNS) - 1)
    return count if count >= _COORDINATES else count + _COORDINATES


def _frames(config: Mapping[str, Any], dataset: Any) -> int:
    return int(dataset.get("nsweeps") or config.get("nsweeps") or 1)


def _class_names(config: Mapping[str, Any], dataset: Any) -> Sequence[str]:
    return dataset.get("class_names") or config.get("class_names") or []
