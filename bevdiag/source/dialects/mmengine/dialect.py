"""MMEngine's conventions: a model from its registry, a preprocessor, `loss` mode, a wrapper."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.errors import InputError
from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmengine.config import (
    described,
    read_config,
    required,
    uses_amp,
)
from bevdiag.source.dialects.mmengine.proposals import with_proposals
from bevdiag.source.dialects.mmengine.supply import MMEngineSupply
from bevdiag.source.dialects.protocol import Dialect, Supply
from bevdiag.source.dialects.python_configs import leave_unmeasured, settings_of
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import note
from bevdiag.source.stubs.imports import StubFinder, install
from bevdiag.source.stubs.mmcv import mmcv_modules
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_IMAGES = "img"
_OF_A_RIG = 4
"""Axes of a sample's images where there are several cameras."""
_SPARSE = "mmcv.ops.sparse_"
"""How the modules of mmcv begin that hold sparse convolutions."""
_UNMEASURED = "models that look through several cameras"


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
        self._has_spconv = find_spec("spconv") is not None
        finder = install(self.root)
        sys.modules.update(mmcv_modules())
        if not self._has_spconv:
            for name in [name for name in sys.modules if name.partition(".")[0] == "spconv"]:
                del sys.modules[name]
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
        return MMEngineSupply(scene, self._config, findings)

    def build(self, supply: Supply) -> nn.Module:
        registry = required("mmdet3d.registry")
        model: Any = registry.MODELS.build(self._config.model)
        # What the runner's model.to(device) does beside moving the parameters.
        model.data_preprocessor.to("cuda:0")
        if not self._has_spconv and is_sparse(model):
            note("spconv is not installed here, so mmcv's own sparse convolutions run in its place")
        return with_proposals(model)

    def loss(self, model: Any, batch: WatchedBatch) -> torch.Tensor:
        """Return the loss of `BaseModel.train_step`."""
        if any(image.dim() == _OF_A_RIG for image in batch["inputs"].get(_IMAGES, ())):
            leave_unmeasured(_UNMEASURED)
        data = model.data_preprocessor({**batch, "inputs": dict(batch["inputs"])}, True)
        loss: torch.Tensor = model.parse_losses(model(**data, mode="loss"))[0]
        return loss

    def predictions(self, model: nn.Module, batch: WatchedBatch) -> Any:
        raise stopped(
            "of Python configs the training step is predicted, as evaluation has a pipeline of its "
            "own",
            Remedy.TRAINING,
            str(self._path),
        )

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """Build what the config's wrapper does, running foreach kernels as it would on a GPU."""
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
        """With the wrapper's GradScaler and clipping, its accumulation where they name none."""
        wrapper, loop = self._config.get("optim_wrapper") or {}, options.loop
        scales = options.autocast != "off" and uses_amp(wrapper)
        counts = int(wrapper.get("accumulative_counts", 1))
        loop = replace(
            loop,
            scaler=loop.scaler or scales,
            accumulate=loop.accumulate if loop.accumulate != 1 else counts,
        )
        return replace(options, loop=loop, clips=bool(wrapper.get("clip_grad")))


def is_sparse(model: nn.Module) -> bool:
    """Whether a model has layers of mmcv's own sparse convolutions."""
    return any(type(layer).__module__.startswith(_SPARSE) for layer in model.modules())
