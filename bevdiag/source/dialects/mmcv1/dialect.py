"""mmcv 1.x's conventions: plugins, registries, `train_step`, hooks that update."""

from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import nn

from bevdiag.errors import InputError
from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmcv1.config import (
    described,
    hook_of,
    is_of_mmcv,
    read_config,
    required,
)
from bevdiag.source.dialects.mmcv1.supply import Mmcv1Supply, is_image, moved
from bevdiag.source.dialects.openmmlab import OpenMMLab
from bevdiag.source.dialects.pcdet.training import as_on_a_gpu
from bevdiag.source.dialects.protocol import Supply
from bevdiag.source.dialects.python_configs import (
    HookedGradients,
    as_old_python,
    leave_unmeasured,
    without_weights,
)
from bevdiag.source.failures import Remedy, as_failure, stopped
from bevdiag.source.state import note
from bevdiag.source.stubs.imports import StubFinder, install
from bevdiag.source.stubs.mmdet3d import EXTENSIONS
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_PACKAGE = "mmdet3d"
_FAMILY = (_PACKAGE, "mmcv", "mmdet", "mmseg")
"""Installed, these are as old as the repository: what they miss gets stubs as if they were its."""
_UNMEASURED = "models that look through cameras, under mmcv 1.x"


class Mmcv1(OpenMMLab):
    """mmdetection3d 0.x, in the repository or installed beside it, and plugins."""

    LIBRARY = "mmcv 1.x"

    def __init__(self, root: Path, config: Path, overrides: Sequence[str]) -> None:
        super().__init__(root, config, overrides)
        self._gradients = HookedGradients()

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

    def describe(self) -> dict[str, Any]:
        return described(read_config(self._path, self._overrides))

    def open(self) -> None:
        self._config = config = read_config(self._path, self._overrides)
        for name in ("models", "datasets"):
            required(f"{_PACKAGE}.{name}")
        if config.get("plugin"):
            # As the plugins' scripts do: the folder that the last slash ends.
            given = config.get("plugin_dir")
            folder = Path(given.rpartition("/")[0]) if given else self._below(self._path.parent)
            import_module(".".join(PurePosixPath(folder).parts))

    def _below(self, folder: Path) -> Path:
        return folder.relative_to(self.root) if folder.is_relative_to(self.root) else folder

    def _supply(self, scene: Batch, findings: list[str]) -> Supply:
        return Mmcv1Supply(scene, self._config, findings)

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
        self._gradients.free(model)
        loss: torch.Tensor = found["loss"]
        return loss

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """Build the config's own, running foreach kernels as it would on a GPU."""
        settings = self._config.get("optimizer")
        if not settings:
            return None
        made: torch.optim.Optimizer = required("mmcv.runner").build_optimizer(model, settings)
        as_on_a_gpu(made)
        if "Cumulative" not in str(hook_of(self._config).get("type", "")):
            self._gradients.keep(model, made)
        return made

    def options(self, options: StepOptions) -> StepOptions:
        """Return the options with the hook's scaler, clipping and accumulation.

        Raises:
            InputError: batches are to be added up, and the hook does not.
        """
        hook, loop = hook_of(self._config), options.loop
        counts = int(hook.get("cumulative_iters", 1))
        if loop.accumulate > 1 and counts == 1:
            raise InputError(
                "--accumulate: the config's hook updates after each batch: set "
                "optimizer_config.type=GradientCumulativeOptimizerHook by --cfg-options"
            )
        loop = replace(
            loop,
            scaler=loop.scaler or options.autocast == "fp16",
            accumulate=loop.accumulate if loop.accumulate != 1 else counts,
        )
        return replace(options, loop=loop, clips=bool(hook.get("grad_clip")))
