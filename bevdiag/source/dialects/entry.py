"""A function of the user's own that gives model, batch and loss: for every loop that there is."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_unflatten

from bevdiag.config.entry import EntryFile
from bevdiag.errors import InputError
from bevdiag.scenes import Batch
from bevdiag.source.dialects.protocol import (
    Dialect,
    Loaded,
    Supply,
    loss_in,
    without_values,
)
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.trace.wiring_batch import WatchedBatch

_RETURN = "return model, batch, loss or model, batch, loss, optimizer"


class Returned(Supply):
    """What the function returned last; one call makes model and batch."""

    failure = "the function named by --entry makes the batch"

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.structure: Any = None
        self.loss: Any = None
        self.optimizer: torch.optim.Optimizer | None = None

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        # Copies, in the place of what was made while the recorder took it for the host's or had
        # noted it on the GPU already.
        for key, value in self.entries.items():
            copied = value.detach().clone() if isinstance(value, torch.Tensor) else value
            self.entries[key] = copied if with_values else without_values(_name_in(key), copied)
        entries = self.entries
        boxes = next((v for k, v in entries.items() if k.endswith("['gt_boxes']")), None)
        return Loaded(dict(entries), boxes if isinstance(boxes, torch.Tensor) else None)


class EntryDialect(Dialect):
    """Code that need not follow any family's conventions.

    Args:
        root: the folder whose imports get stubs: the repository that the function uses.
        entry: the function.
        config: the path that it gets, None for none.
        replaces_optimizer: whether its own optimizer is left out.
    """

    IS_BARE = True

    def __init__(
        self, root: Path, entry: EntryFile, config: Path | None, *, replaces_optimizer: bool
    ) -> None:
        super().__init__(root)
        self._entry = entry
        # The child that builds the model works in another folder.
        self._path = entry.path.resolve()
        self._config = config and config.resolve()
        self._replaces_optimizer = replaces_optimizer
        self._returned = Returned()

    def open(self) -> None:
        path = self._path
        sys.path.insert(0, str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        self._function = getattr(module, self._entry.function)

    def supply(self, scene: Batch | SavedBatch, findings: list[str], *, loads: bool) -> Returned:
        return self._returned

    def build(self, supply: Any) -> nn.Module:
        arguments = () if self._config is None else (str(self._config),)
        returned = self._function(*arguments)
        if not isinstance(returned, (tuple, list)):
            raise self._refused(f"its function returns a {type(returned).__name__}: {_RETURN}")
        if len(returned) not in (3, 4):
            raise self._refused(f"its function returns {len(returned)} values: {_RETURN}")
        model, batch, loss, *more = returned
        (optimizer,) = more or (None,)
        if not isinstance(model, nn.Module):
            raise self._refused(
                f"its model is a {type(model).__name__}, not an nn.Module: several go into one "
                "nn.ModuleDict"
            )
        if not callable(loss):
            raise self._refused(
                f"its loss is a {type(loss).__name__}: return a function of the model and the batch"
            )
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise self._refused(
                f"its optimizer is a {type(optimizer).__name__}, not a torch.optim.Optimizer"
            )
        leaves, supply.structure = tree_flatten_with_path(batch)
        supply.entries = {f"batch{keystr(path)}": leaf for path, leaf in leaves}
        supply.loss, supply.optimizer = loss, optimizer
        return model

    def _refused(self, why: str) -> InputError:
        return InputError(f"--entry {self._entry}: {why}")

    def loss(self, model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
        made = self._returned
        return loss_in(made.loss(model, tree_unflatten(batch.values(), made.structure)), made.loss)

    def predictions(self, model: nn.Module, batch: WatchedBatch) -> Any:
        raise InputError("--step eval: the function named by --entry gives a training step")

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        return None if self._replaces_optimizer else self._returned.optimizer


def _name_in(key: str) -> str:
    """Return the last name in a path such as `batch[0]['gt_boxes'][1]`; empty if there is none."""
    return key.rpartition("['")[2].partition("']")[0] if "['" in key else ""
