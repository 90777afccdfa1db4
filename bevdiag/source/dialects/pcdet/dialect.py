"""OpenPCDet's conventions: YAML configs, `build_network`, and one batch dict through the model."""

import importlib
import inspect
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.config.around import DETECTORS, package_of
from bevdiag.errors import InputError
from bevdiag.scenes import Batch
from bevdiag.source.dialects.pcdet.dataset import LoadedBatch
from bevdiag.source.dialects.pcdet.reading import unread_in, watched
from bevdiag.source.dialects.pcdet.supply import Supply
from bevdiag.source.dialects.pcdet.training import (
    loss_in,
    own_optimizer,
    returned_by,
    step_function,
)
from bevdiag.source.dialects.protocol import Dialect, Unread
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.stubs.imports import StubFinder, install
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch


class OpenPcdet(Dialect):
    """A repository whose package, whatever its name, is arranged like `pcdet`.

    Args:
        settings: what its config says.
    """

    BATCH = LoadedBatch

    def __init__(self, root: Path, settings: SourceSettings) -> None:
        super().__init__(root)
        self._settings = settings
        self._step_function: Any = None
        self._is_replaced = True

    @classmethod
    def recognise(cls, root: Path, config: Path) -> bool:
        """Whether a folder holds such a package; nothing in it is run."""
        return config.suffix != ".py" and next(root.glob(DETECTORS), None) is not None

    def install(self) -> StubFinder:
        return install(self.root)

    def open(self) -> None:
        self._package = package_of(self.root)
        models = importlib.import_module(f"{self._package}.models")
        self._build_network = models.build_network
        self._to_gpu = getattr(models, "load_data_to_gpu", None)
        self._step_function = step_function(models)

    def supply(self, scene: Batch | SavedBatch, findings: list[str], *, loads: bool) -> Supply:
        return Supply(
            self._package, scene, self._settings, findings, loads=loads, to_gpu=self._to_gpu
        )

    def build(self, supply: Any) -> nn.Module:
        model: nn.Module = self._build_network(**self._arguments(supply.dataset))
        return model

    def loss(self, model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
        """Return the loss that the repository's `model_fn_decorator` hands to the training loop."""
        if self._step_function is None:
            return loss_in(returned_by(model, batch, batch=batch), type(model).forward)
        returned = returned_by(self._step_function, model, batch, batch=batch)
        return loss_in(returned, type(model).forward)

    def predictions(self, model: nn.Module, batch: WatchedBatch) -> Any:
        """Return the boxes that an evaluated model kept, and what recall it counted."""
        return returned_by(model, batch, batch=batch)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        if self._is_replaced:
            return None
        made: torch.optim.Optimizer | None = own_optimizer(
            model, watched(self._settings.values()).OPTIMIZATION
        )
        return made

    def options(self, options: StepOptions) -> StepOptions:
        # The name of --optimizer is not in the config: the loop's own function knows nothing of it.
        written = self._settings.optimization.optimizer
        self._is_replaced = options.loop.evaluates or options.optimizer != written
        return options

    def unread(self, overrides: Sequence[str]) -> tuple[Unread, ...]:
        return unread_in(self._settings.values(), self.root, overrides)

    def _arguments(self, dataset: Any) -> dict[str, Any]:
        """Return what `build_network` asks for, by the names of its parameters."""
        config = watched(self._settings.values())
        known = {
            "model_cfg": config.MODEL,
            "num_class": len(self._settings.class_names),
            "dataset": dataset,
            "logger": logging.getLogger("bevdiag.repository"),
            "cfg": config,
            "dist": False,
        }
        given = {}
        for name, parameter in inspect.signature(self._build_network).parameters.items():
            if name in known:
                given[name] = known[name]
            elif parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                raise InputError(
                    f"the repository's build_network asks for {name!r}, which bevdiag cannot "
                    f"supply: it knows {', '.join(known)}"
                )
        return given
