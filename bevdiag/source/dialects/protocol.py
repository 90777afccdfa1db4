"""What the trace of a repository asks of the family that the repository belongs to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import unwrap
from pathlib import Path
from types import MethodType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.scenes import Batch
from bevdiag.source.failures import Remedy, place_of, stopped
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.stubs.imports import StubFinder, install
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_VALUES_BELOW = 3
"""Arrays of as many dimensions are features without values in a trace, unless their name says
that they are boxes or coordinates."""
_GEOMETRY = ("box", "coord", "num_points", "matrix", "trans_", "2", "intrinsics", "masks")


class Loaded(NamedTuple):
    """A batch as the step gets it.

    Attributes:
        entries: by name; those that are tensors are on the device when the step begins.
        boxes: the ground truth's, [B, boxes, 7 or more]; None where nobody knows them.
    """

    entries: dict[str, Any]
    boxes: torch.Tensor | None


def valueless(tensor: torch.Tensor) -> torch.Tensor:
    """Return a meta tensor of the same shape and type."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def without_values(key: str, value: Any) -> Any:
    """Return a batch's entry as a trace gets it: features are meta tensors, the rest stays."""
    if not isinstance(value, torch.Tensor) or value.dim() < _VALUES_BELOW:
        return value
    if any(part in key for part in _GEOMETRY) or not value.is_floating_point():
        return value
    return valueless(value)


class Supply(ABC):
    """One scene, as the training code loads it."""

    @property
    def failure(self) -> str:
        """Why an entry that the model asks for is not in the batch, and what helps."""
        return ""

    def load(self) -> None:  # noqa: B027 - not all have to
        """Have the repository's code make the batch; what fails there is a finding."""

    @abstractmethod
    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        """Make the batch of a step; features without values, the labels left out, if so asked."""

    def add(self, key: str) -> bool:
        """Give the batch an entry that the model asks for; False where nobody knows its like."""
        return False

    def counts(self) -> tuple[int | None, int | None]:
        """Points and voxels of the batch; None where it is the scene as it was."""
        return None, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A key of a config that nobody read.

    Attributes:
        key: dotted.
        message: what that means, in one sentence.
        is_section: whether it is a section of the model, so that a part of the step is missing.
    """

    key: str
    message: str
    is_section: bool = False


class NotInBatchError(NoVerdictError, KeyError):
    """A model asks its batch for something that is not in it.

    Attributes:
        key: what it asks for.
    """

    __str__ = Exception.__str__

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key

    def __reduce__(self) -> Any:
        return NotInBatchError, (self.key, str(self))


class Dialect(ABC):
    """How a family's training script makes its model, its batch and its loss.

    It is made where the command runs, from files that are only read, and sent to the child process;
    everything from `install` on happens there, in this order.

    Args:
        root: the repository.
    """

    BATCH: ClassVar[type[WatchedBatch]] = WatchedBatch
    """The class of the batch dict that `loss` gets."""
    IS_BARE: ClassVar[bool] = False
    """Whether the loop keeps no batch on the GPU beside the one of the step."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def install(self) -> StubFinder:
        """Put stubs in place for what no machine without a GPU has, before anything is imported."""
        return install(self.root)

    @abstractmethod
    def open(self) -> None:
        """Import what the model is built from; what that puts on the GPU stays there."""

    @abstractmethod
    def supply(self, scene: Batch | SavedBatch, findings: list[str], *, loads: bool) -> Supply:
        """Return the batches of a scene.

        Args:
            scene: points and boxes, or a batch that the user saved.
            findings: gets a sentence for what was left out or did not work.
            loads: whether the repository's own data pipeline makes the batch.
        """

    @abstractmethod
    def build(self, supply: Supply) -> nn.Module:
        """Build the model, on the device that the code puts it on.

        Raises:
            InputError: the code asks for something that nobody knows.
        """

    @abstractmethod
    def loss(self, model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
        """Return the loss that the training loop goes backward from.

        Raises:
            NoVerdictError: the model returns none.
        """

    @abstractmethod
    def predictions(self, model: nn.Module, batch: WatchedBatch) -> Any:
        """Return what the model returns when it is evaluated."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """Build the optimizer of the training script; None takes the one that the options name."""
        return None

    def options(self, options: StepOptions) -> StepOptions:
        """Return the options of the step, with what the training script does of its own accord."""
        return options

    def unread(self, overrides: Sequence[str]) -> tuple[Unread, ...]:
        """Return what nobody read of the config in this process.

        Args:
            overrides: `KEY=value` texts; one in the model has to be read by this very step.
        """
        return ()

    def settings(self, split: str) -> SourceSettings:
        """Read a config that is code: what a scene is made from.

        Called in the child, instead of `open`.

        Args:
            split: "train" or "test": whose counts of voxels are taken.

        Raises:
            BevdiagError: it lacks what a scene needs, or its code fails.
        """
        raise NotImplementedError


def loss_in(returned: Any, function: Any) -> torch.Tensor:
    """Return the loss, which is a dict's 'loss' or stands first in a tuple of any length.

    Args:
        returned: what the function returned.
        function: the forward pass of a model, or the user's own.

    Raises:
        NoVerdictError: there is none.
    """
    loss = _loss_in(returned)
    if loss is None:
        raise stopped(
            f"the model returns no loss, but {type(returned).__name__}",
            Remedy.LOSS,
            place_of(function),
        )
    return loss.mean()


def _loss_in(returned: Any) -> torch.Tensor | None:
    if isinstance(returned, torch.Tensor):
        return returned
    if isinstance(returned, Mapping):
        return _loss_in(returned.get("loss"))
    if isinstance(returned, (tuple, list)):
        return next((loss for part in returned if (loss := _loss_in(part)) is not None), None)
    return None


def as_on_a_gpu(optimizer: torch.optim.Optimizer) -> None:
    """Make it run the foreach kernels that CUDA takes by default, and no wrapper of `step`.

    The wrappers import torch._dynamo, which takes as long as importing torch.
    """
    for group in optimizer.param_groups:
        if "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True
    plain = torch.no_grad()(unwrap(type(optimizer).step))
    optimizer.step = MethodType(plain, optimizer)  # type: ignore[method-assign]
