"""OpenPCDet's conventions: YAML configs, `build_network`, and one batch dict through the model."""

import importlib
import inspect
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.config.repository import DETECTORS, package_of
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.scenes import Batch
from bevdiag.source.dialects.pcdet.dataset import LoadedBatch
from bevdiag.source.dialects.pcdet.reading import unread_in, watched
from bevdiag.source.dialects.pcdet.supply import Supply
from bevdiag.source.dialects.protocol import Dialect, Unread
from bevdiag.source.settings import SourceSettings
from bevdiag.source.stubs.imports import StubFinder, install
from bevdiag.trace.wiring_batch import WatchedBatch

_MISMATCH = re.compile(
    r"shapes cannot be multiplied|same reduction dim|expected input\b.* to have \d+ channels|"
    r"must match the size of tensor|size mismatch|normalized_shape|running_mean should contain|"
    r"but got input .*channels"
)
"""What layers say of an input that does not suit them."""


class OpenPcdet(Dialect):
    """A repository whose package, whatever its name, is arranged like `pcdet`.

    Args:
        settings: what its config says.
    """

    BATCH = LoadedBatch

    def __init__(self, root: Path, settings: SourceSettings) -> None:
        super().__init__(root)
        self._settings = settings

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

    def supply(self, scene: Batch, findings: list[str], *, loads: bool) -> Supply:
        return Supply(self._package, scene, self._settings, findings, loads=loads)

    def build(self, supply: Any) -> nn.Module:
        model: nn.Module = self._build_network(**self._arguments(supply.dataset))
        return model

    def loss(self, model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
        """The loss that OpenPCDet's `model_fn_decorator` hands to the training loop."""
        returned = _called(model, batch)
        loss = _loss_in(returned)
        if loss is None:
            raise NoVerdictError(
                "the model returns no loss: expected a dict with 'loss', alone or first in a "
                f"tuple, found {type(returned).__name__}"
            )
        return loss.mean()

    def predictions(self, model: nn.Module, batch: WatchedBatch) -> Any:
        """The boxes that an evaluated model kept, and what recall it counted."""
        return _called(model, batch)

    def unread(self, overrides: Sequence[str]) -> tuple[Unread, ...]:
        return unread_in(self._settings.values(), self.root, overrides)

    def _arguments(self, dataset: Any) -> dict[str, Any]:
        """What `build_network` asks for, by the names of its parameters."""
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


def _called(model: nn.Module, batch: WatchedBatch) -> Any:
    try:
        return model(batch)
    except RuntimeError as error:
        # A layer that is fed other channels than it was built for: say who feeds it.
        mismatch = _MISMATCH.search(str(error)) and batch.watch is not None
        fed = batch.watch.last_features() if mismatch and batch.watch is not None else ""
        error.args = (f"{error}; {fed}" if fed else str(error),)
        raise


def _loss_in(returned: Any) -> torch.Tensor | None:
    """What OpenPCDet's models return is a dict with the loss, and two more; others vary it."""
    if isinstance(returned, torch.Tensor):
        return returned
    if isinstance(returned, Mapping):
        return _loss_in(returned.get("loss"))
    if isinstance(returned, (tuple, list)):
        return next((loss for part in returned if (loss := _loss_in(part)) is not None), None)
    return None
