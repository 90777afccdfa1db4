"""mmcv 1.x's conventions: plugins, registries, `train_step`, hooks that update.

A scene goes through the config's own data set, from an info file in the scratch folder. Whether a
config is mmcv's or MMEngine's is seen from the names that it sets, without running it.
"""

import ast
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import (
    register_pytree_node,
    tree_leaves,
    tree_map,
    tree_map_only,
)

from bevdiag.errors import InputError
from bevdiag.source.dialects.mmcv1 import required
from bevdiag.source.dialects.mmcv1.infos import class_of, write_scene
from bevdiag.source.dialects.mmengine.frames import on_points
from bevdiag.source.dialects.openmmlab import OpenMMLab, scene_of, training_set
from bevdiag.source.dialects.protocol import Loaded, Supply, valueless
from bevdiag.source.dialects.python_configs import (
    PipelineSupply,
    as_old_python,
    leave_unmeasured,
    with_loop,
    without_weights,
)
from bevdiag.source.failures import Remedy, as_failure, stopped
from bevdiag.source.state import note
from bevdiag.source.stubs.imports import StubFinder, install
from bevdiag.source.stubs.mmcv import EXTENSIONS
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_PACKAGE = "mmdet3d"
_FAMILY = (_PACKAGE, "mmcv", "mmdet", "mmseg")
"""Installed, these are as old as the repository: what they miss gets stubs as if they were its."""
_UNMEASURED = "models that look through cameras, under mmcv 1.x"
_OWN, _LATER = {"data"}, {"train_dataloader", "optim_wrapper", "default_scope"}
"""Names that only configs of mmcv 1.x set, and that only later ones do."""
_MOST_BASES = 32
_OF_CONTAINERS = ("pad_dims", "stack", "padding_value", "cpu_only")
"""What mmcv's containers hold beside their data."""
_CHANNELS = 3
_LEAST_SIDE = 16
"""Of an image, in pixels: no matrix of a camera is as large."""


class Mmcv1Supply(PipelineSupply):
    """The batches of a scene, from the data set that the config names."""

    prepared = staticmethod(on_points)

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        loaded = super().batch()
        if with_values:
            return loaded
        without = tree_map_only(
            torch.Tensor, lambda t: valueless(t) if _shows(t) else t, loaded.entries
        )
        return Loaded(without, loaded.boxes)

    def counts(self) -> tuple[int | None, int | None]:
        clouds = _tensors(self.own.get("points", ()))
        return sum(map(len, clouds)) if clouds else None, None

    def collated(self) -> dict[str, Any]:
        written = deepcopy(_training_set(self.config))
        written["pipeline"] = self.kept(written["pipeline"])
        dataset, last = write_scene(self.scene, written, Path(mkdtemp()))
        prepare = getattr(dataset, "prepare_train_data", None) or dataset.__getitem__
        samples = [prepare(index) for index in last]
        if any(sample is None for sample in samples):
            raise ValueError(f"{type(dataset).__name__} drops the sample")
        collate = required("mmcv.parallel").collate
        return dict(collate(samples, samples_per_gpu=len(samples)))


class Mmcv1(OpenMMLab):
    """mmdetection3d 0.x, in the repository or installed beside it, and plugins."""

    SUPPLY = Mmcv1Supply
    READER = "mmcv.utils.config"
    required = staticmethod(required)
    NO_BATCH = "a batch of mmcv 1.x holds objects, which no such file can"

    @classmethod
    def recognise(cls, root: Path, config: Path) -> bool:
        """Whether a Python config is mmcv's; nothing is run."""
        own = root / _PACKAGE
        is_older = own.is_dir() and not (own / "models" / "data_preprocessors").is_dir()
        return config.suffix == ".py" and (is_older or is_of_mmcv(config))

    def _stubs(self) -> StubFinder:
        as_old_python()
        found = (find_spec(name) for name in _FAMILY if not (self.root / name).is_dir())
        places = [spec.submodule_search_locations or () for spec in found if spec is not None]
        return install(self.root, EXTENSIONS, [Path(place) for paths in places for place in paths])

    def described(self, config: Any) -> dict[str, Any]:
        dataset = _training_set(config)
        # Either takes a GradScaler with it.
        is_half = config.get("fp16") is not None or "Fp16" in str(_hook_of(config).get("type", ""))
        return {
            **scene_of(config, dataset, _class_names(config, dataset)),
            "batch_size": int(config.data.get("samples_per_gpu", 1)),
            "batch_key": ["data", "samples_per_gpu"],
            "half_precision": (("fp16", "loss_scale"), 512.0),
            "optimizer": str((config.get("optimizer") or {}).get("type", "")),
            "autocast": "fp16" if is_half else "off",
        }

    def open(self) -> None:
        self._config = config = self.read()
        container = required("mmcv.parallel").DataContainer
        register_pytree_node(
            container,
            lambda held: ([held.data], {name: getattr(held, name) for name in _OF_CONTAINERS}),
            lambda data, others: container(*data, **(others or {})),
        )
        for name in ("models", "datasets"):
            required(f"{_PACKAGE}.{name}")
        if config.get("plugin"):
            # As the plugins' scripts do: the folder that the last slash ends.
            given = config.get("plugin_dir")
            folder = Path(given.rpartition("/")[0]) if given else self._path.parent
            if folder.is_relative_to(self.root):
                folder = folder.relative_to(self.root)
            import_module(".".join(PurePosixPath(folder).parts))

    def build(self, supply: Supply) -> nn.Module:
        models, config = required(f"{_PACKAGE}.models"), self._config
        build = getattr(models, "build_model", None) or models.build_detector
        settings = {name: config.get(name) for name in ("train_cfg", "test_cfg")}
        model: nn.Module = build(without_weights(deepcopy(config.model)), **settings)
        # As the scripts do: some models freeze parts of themselves there.
        initialize = getattr(model, "init_weights", None)
        if initialize is not None:
            try:
                initialize()
            except Exception as error:
                note(f"the model's init_weights was broken off: {as_failure(error)}")
        self.note_sparse_convolutions(model)
        return model

    def loss(self, model: Any, batch: WatchedBatch) -> torch.Tensor:
        """Return the loss of `train_step`, which the hook goes backward from.

        Raises:
            NoVerdictError: the step returns none.
        """
        data = moved(dict(batch))
        if is_image(data):
            leave_unmeasured(_UNMEASURED)
        # What mmcv marks casts by itself, to fp16; anything else would go around the whole step.
        by_mark = (
            torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") is torch.float16
        )
        if by_mark:
            required("mmcv.runner").wrap_fp16_model(model)
        with torch.autocast("cuda", enabled=False) if by_mark else nullcontext():
            found = model.train_step(data, None)
        if not isinstance(found, dict) or not isinstance(found.get("loss"), torch.Tensor):
            raise stopped("train_step returns no loss to go backward from", Remedy.LOSS)
        self.free_gradients(model)
        loss: torch.Tensor = found["loss"]
        return loss

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """Build the config's own."""
        settings = self._config.get("optimizer")
        if not settings:
            return None
        made: torch.optim.Optimizer = required("mmcv.runner").build_optimizer(model, settings)
        if "Cumulative" not in str(_hook_of(self._config).get("type", "")):
            self.keep_gradients(model, made)
        return made

    def options(self, options: StepOptions) -> StepOptions:
        """Return the options with the hook's scaler, clipping and accumulation.

        Raises:
            InputError: batches are to be added up, and the hook does not.
        """
        hook = _hook_of(self._config)
        counts = int(hook.get("cumulative_iters", 1))
        if options.loop.accumulate > 1 and counts == 1:
            raise InputError(
                "--accumulate: the config's hook updates after each batch: set "
                "optimizer_config.type=GradientCumulativeOptimizerHook by --cfg-options"
            )
        return with_loop(
            options,
            scales=options.autocast == "fp16",
            counts=counts,
            clips=bool(hook.get("grad_clip")),
        )


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
                    texts = (getattr(part, "value", None) for part in ast.walk(node.value))
                    due += [config.parent / text for text in texts if isinstance(text, str)]
    return bool(names & _OWN) and not names & _LATER


def _training_set(config: Any) -> Any:
    return training_set(config, (config.get("data") or {}).get("train"), "data.train")


def _class_names(config: Any, dataset: Any) -> Sequence[str]:
    named = dataset.get("classes") or config.get("class_names")
    if isinstance(named, (list, tuple)):
        return named
    # A file of names, or those that the class of the data set has for configs that name none.
    known = class_of(dataset)
    return [] if known is None else list(known.get_classes(named))


def _hook_of(config: Any) -> Mapping[str, Any]:
    """Return the settings of the hook that goes backward and updates."""
    return config.get("optimizer_config") or {}


def moved(value: Any) -> Any:
    """Return what mmcv's `scatter` hands the one GPU of a process, of a batch with containers."""

    def leaf(item: Any) -> Any:
        if _is_container(item):
            held = item.data[0]
            return held if item.cpu_only else moved(held)
        return _to_gpu(item) if isinstance(item, torch.Tensor) else item

    return tree_map(leaf, value, is_leaf=_is_container)


def _to_gpu(tensor: torch.Tensor) -> torch.Tensor:
    """Copy in any case: what has no values counts as the GPU's wherever it is."""
    return tensor.clone() if tensor.is_meta else tensor.to("cuda:0")


def is_image(value: Any) -> bool:
    """Whether there are images in what a model gets."""
    return any(map(_shows, _tensors(value)))


def _shows(tensor: torch.Tensor) -> bool:
    return (
        tensor.dim() > _CHANNELS
        and tensor.shape[-3] == _CHANNELS
        and min(tensor.shape[-2:]) >= _LEAST_SIDE
    )


def _is_container(value: Any) -> bool:
    return hasattr(value, "cpu_only") and hasattr(value, "data")


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
