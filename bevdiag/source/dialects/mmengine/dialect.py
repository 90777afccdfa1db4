"""MMEngine's conventions: a model from its registry, a preprocessor, `loss` mode, a wrapper."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmengine.config import (
    described,
    read_config,
    required,
    uses_amp,
)
from bevdiag.source.dialects.mmengine.proposals import with_proposals
from bevdiag.source.dialects.mmengine.supply import MMEngineSupply
from bevdiag.source.dialects.openmmlab import OpenMMLab
from bevdiag.source.dialects.protocol import Supply
from bevdiag.source.dialects.python_configs import leave_unmeasured, without_weights
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_IMAGES = "img"
_OF_A_RIG = 4
"""Axes of a sample's images where there are several cameras."""
_UNMEASURED = "models that look through several cameras"


class MMEngine(OpenMMLab):
    """mmdetection3d 1.x, in the repository or installed beside it."""

    LIBRARY = "MMEngine"

    @classmethod
    def recognise(cls, root: Path, config: Path) -> bool:
        """Whether a Python config is MMEngine's, if it is no older one's; nothing is run."""
        return config.suffix == ".py"

    def describe(self) -> dict[str, Any]:
        return described(read_config(self._path, self._overrides))

    def open(self) -> None:
        self._config = read_config(self._path, self._overrides)
        required("mmdet3d.utils").register_all_modules(init_default_scope=True)

    def _supply(self, scene: Batch, findings: list[str]) -> Supply:
        return MMEngineSupply(scene, self._config, findings)

    def build(self, supply: Supply) -> nn.Module:
        registry = required("mmdet3d.registry")
        model: Any = registry.MODELS.build(without_weights(deepcopy(self._config.model)))
        # What the runner's model.to(device) does beside moving the parameters.
        model.data_preprocessor.to("cuda:0")
        self.note_sparse_convolutions(model)
        return with_proposals(model)

    def loss(self, model: Any, batch: WatchedBatch) -> torch.Tensor:
        """Return the loss of `BaseModel.train_step`."""
        if any(image.dim() == _OF_A_RIG for image in batch["inputs"].get(_IMAGES, ())):
            leave_unmeasured(_UNMEASURED)
        data = model.data_preprocessor({**batch, "inputs": dict(batch["inputs"])}, True)
        loss: torch.Tensor = model.parse_losses(model(**data, mode="loss"))[0]
        return loss

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
