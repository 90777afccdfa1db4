"""MMEngine's conventions: a model from its registry, a preprocessor, `loss` mode, a wrapper."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.errors import InputError, NoVerdictError
from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmengine.config import (
    described,
    read_config,
    required,
    settings_of,
    uses_amp,
)
from bevdiag.source.dialects.mmengine.supply import PipelineSupply
from bevdiag.source.dialects.protocol import Dialect, Supply
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import current, note
from bevdiag.source.stubs.imports import StubFinder, install
from bevdiag.source.stubs.mmcv import mmcv_modules
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_IMAGES = "img"
_OF_A_RIG = 4
"""Axes of a sample's images where there are several cameras."""
_UNMEASURED = (
    "models that look through several cameras: no prediction for one was held against a measured "
    "step yet"
)


class MMEngine(Dialect):
    """mmdetection3d 1.x, in the repository or installed beside it.

    Args:
        config: the Python config, an absolute path.
        overrides: `KEY=value` texts, read as --cfg-options.
    """

    def __init__(self, root: Path, config: Path, overrides: Sequence[str]) -> None:
        super().__init__(root)
        self._path = config
        self._overrides = tuple(overrides)

    @classmethod
    def recognise(cls, root: Path, config: Path) -> bool:
        """Whether a Python config is MMEngine's; nothing is run."""
        own = root / "mmdet3d"
        is_older = own.is_dir() and not (own / "models" / "data_preprocessors").is_dir()
        return config.suffix == ".py" and not is_older

    def install(self) -> StubFinder:
        # mmdetection3d asks whether it is there, and takes mmcv's sparse convolutions if not.
        has_spconv = find_spec("spconv") is not None
        finder = install(self.root)
        sys.modules.update(mmcv_modules())
        if not has_spconv:
            for name in [name for name in sys.modules if name.partition(".")[0] == "spconv"]:
                del sys.modules[name]
            note("spconv is not installed here, so mmcv's own sparse convolutions run in its place")
        return finder

    def describe(self) -> dict[str, Any]:
        return described(read_config(self._path, self._overrides))

    def settings(self, said: Mapping[str, Any], split: str) -> SourceSettings:
        return settings_of(self._path, said, split)

    def open(self) -> None:
        self._config = read_config(self._path, self._overrides)
        required("mmdet3d.utils").register_all_modules(init_default_scope=True)

    def supply(self, scene: Batch | SavedBatch, findings: list[str], *, loads: bool) -> Supply:
        if isinstance(scene, SavedBatch):
            raise InputError(
                f"--batch {scene.path}: a batch of MMEngine holds objects, which no such file can: "
                "leave it out, or give model and batch with --entry"
            )
        return PipelineSupply(scene, self._config, findings)

    def build(self, supply: Supply) -> nn.Module:
        registry = required("mmdet3d.registry")
        model: Any = registry.MODELS.build(self._config.model)
        # What the runner's model.to(device) does beside moving the parameters.
        model.data_preprocessor.to("cuda:0")
        return model  # type: ignore[no-any-return]

    def loss(self, model: Any, batch: WatchedBatch) -> torch.Tensor:
        """The loss of `BaseModel.train_step`."""
        values, images = current().values, batch["inputs"].get(_IMAGES, ())
        if any(image.dim() == _OF_A_RIG for image in images) and isinstance(values, AssumedValues):
            values.leave_open(_UNMEASURED)
        data = model.data_preprocessor({**batch, "inputs": dict(batch["inputs"])}, True)
        loss: torch.Tensor = model.parse_losses(model(**data, mode="loss"))[0]
        return loss

    def predictions(self, model: nn.Module, batch: WatchedBatch) -> Any:
        raise NoVerdictError(
            "of Python configs the training step is predicted: evaluation has a pipeline of its own"
        )

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """What the config's wrapper builds, running foreach kernels as it would on a GPU."""
        settings = self._config.get("optim_wrapper")
        if not settings:
            return None
        plain = {**settings, "type": "OptimWrapper"}
        for key in ("loss_scale", "dtype", "use_fsdp", "accumulative_counts"):
            plain.pop(key, None)
        wrapper = required("mmengine.optim").build_optim_wrapper(model, plain)
        optimizer: torch.optim.Optimizer = wrapper.optimizer
        for group in (*optimizer.param_groups, optimizer.defaults):
            if "foreach" in group:
                group["foreach"] = True
        return optimizer

    def options(self, options: StepOptions) -> StepOptions:
        """With the wrapper's GradScaler, and its accumulation where the options name none."""
        wrapper, loop = self._config.get("optim_wrapper") or {}, options.loop
        scales = options.autocast != "off" and uses_amp(wrapper)
        counts = int(wrapper.get("accumulative_counts", 1))
        loop = replace(
            loop,
            scaler=loop.scaler or scales,
            accumulate=loop.accumulate if loop.accumulate != 1 else counts,
        )
        return replace(options, loop=loop)
