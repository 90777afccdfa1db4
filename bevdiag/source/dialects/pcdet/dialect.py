"""OpenPCDet's conventions: YAML configs, `build_network`, and one batch dict through the model."""

import importlib
import inspect
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from bevdiag.config.around import DETECTORS, package_of
from bevdiag.errors import InputError
from bevdiag.scenes import Batch
from bevdiag.source.dialects.pcdet.read_keys import unread_in, watched
from bevdiag.source.dialects.pcdet.supply import LoadedBatch, PcdetSupply
from bevdiag.source.dialects.protocol import Dialect, Unread, as_on_a_gpu, loss_in
from bevdiag.source.failures import as_failure
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.state import note
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_OPTIMIZERS = "train_utils.optimization"
"""Where OpenPCDet's tools build theirs, and all that were made from it."""
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
        self._step: Callable[..., Any] = _forward
        self._is_replaced = True

    @classmethod
    def recognise(cls, root: Path, config: Path) -> bool:
        """Whether a folder holds such a package; nothing in it is run."""
        return config.suffix != ".py" and next(root.glob(DETECTORS), None) is not None

    def open(self) -> None:
        self._package = package_of(self.root)
        models = importlib.import_module(f"{self._package}.models")
        self._build_network = models.build_network
        self._to_gpu = getattr(models, "load_data_to_gpu", None)
        self._step = _step_of(models)

    def supply(self, scene: Batch | SavedBatch, findings: list[str], *, loads: bool) -> PcdetSupply:
        return PcdetSupply(
            self._package, scene, self._settings, findings, loads=loads, to_gpu=self._to_gpu
        )

    def build(self, supply: Any) -> nn.Module:
        model: nn.Module = self._build_network(**self._arguments(supply.dataset))
        return model

    def loss(self, model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
        """Return the loss that the repository's `model_fn_decorator` hands to the training loop."""
        return loss_in(_returned_by(self._step, model, batch), type(model).forward)

    def predictions(self, model: nn.Module, batch: WatchedBatch) -> Any:
        """Return the boxes that an evaluated model kept, and what recall it counted."""
        return _returned_by(_forward, model, batch)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        if self._is_replaced:
            return None
        return _own_optimizer(model, watched(self._settings.values()).OPTIMIZATION)

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


def _forward(model: nn.Module, batch: WatchedBatch) -> Any:
    return model(batch)


def _step_of(models: ModuleType) -> Callable[[nn.Module, WatchedBatch], Any]:
    """Find what the training loop calls, in the repository's package of models."""
    decorator = getattr(models, "model_fn_decorator", None)
    if decorator is None:
        return _forward
    # The trace has loaded the batch already, and noted what that takes.
    models.load_data_to_gpu = lambda batch: None  # type: ignore[attr-defined]
    function: Callable[..., Any] = decorator()
    required = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return function if len(required) == 2 else _forward


def _returned_by(step: Callable[..., Any], model: nn.Module, batch: WatchedBatch) -> Any:
    """Run the step; a layer that is fed other channels than its own says who feeds it."""
    try:
        return step(model, batch)
    except RuntimeError as error:
        fed = ""
        if batch.watch is not None and _MISMATCH.search(str(error)):
            fed = batch.watch.last_features()
        error.args = (f"{error}; {fed}" if fed else str(error),)
        raise


def _own_optimizer(model: nn.Module, config: Any) -> torch.optim.Optimizer | None:
    """Build what the repository's `build_optimizer` makes of OPTIMIZATION, as it acts on a GPU.

    None where there is none, which is noted.
    """
    try:
        made: Any = importlib.import_module(_OPTIMIZERS).build_optimizer(model, config)
        for inner in vars(made).values():  # where it wraps others
            if isinstance(inner, torch.optim.Optimizer):
                as_on_a_gpu(inner)
    except Exception as error:
        note(
            "the optimizer is the one of PyTorch that the config's name comes nearest to, as the "
            f"repository's own could not be built: {as_failure(error)}"
        )
        return None
    optimizer: torch.optim.Optimizer = made
    return optimizer
