"""One allocation of a predicted step held against a message, and what speaks for it."""

from dataclasses import dataclass

from bevdiag.explain.failure import Failure, Stack
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc, EventStream
from bevdiag.memory.workspaces import workspace

PREDICTION_ERROR = 0.10
"""How far predicted and measured totals may lie apart: the project's accuracy promise, also where
the user's scene is another than the predicted one."""

_LAYERS = {
    "activation": ("relu", "gelu", "sigmoid", "softmax", "baddbmm", "bmm", "addmm", "clamp"),
    "batchnorm": ("native_batch_norm", "cudnn_batch_norm", "empty_like", "clone"),
    "conv": ("convolution", "constant_pad"),
    "linear": ("mm", "addmm", "clone", "_to_copy"),
    "normalization": ("native_layer_norm",),
    "padding": ("constant_pad",),
}
"""Operations that the modules in a file of torch.nn run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One set of circumstances under which the message may have come about.

    Attributes:
        stream: the predicted step.
        target: versions, and the capacity that the message tells, None where it tells none.
        assumption: what it takes for granted beyond the user's options, empty for nothing.
        count: the count that depends on values and differs between cases, None without one.
    """

    stream: EventStream
    target: DeviceTarget
    assumption: str
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One allocation of one case, with what speaks for it."""

    case: Case
    event: int
    alloc: Alloc
    nbytes: int
    allocated_bytes: int
    has_size: bool
    stops_here: bool
    agrees_with_stack: bool
    distance: float | None

    @property
    def is_near(self) -> bool:
        """Whether as much is allocated by then as the message says, as far as is known."""
        return self.distance is None or self.distance <= PREDICTION_ERROR

    @property
    def rank(self) -> tuple[object, ...]:
        """Sorts the likeliest first."""
        return (
            not self.agrees_with_stack,
            not self.has_size,
            not self.is_near,
            not self.stops_here,
            self.distance or 0.0,
            bool(self.case.assumption),
            self.event,
        )


def is_optional(alloc: Alloc, target: DeviceTarget) -> bool:
    """Whether PyTorch goes on without it: it skips an engine of cuDNN, it does not fail."""
    return alloc.request is not None and workspace(alloc.request, target).is_optional


def distance_of(allocated_bytes: int, failure: Failure) -> float | None:
    """How far a predicted total lies from the message's, as a share of it; None without one."""
    if failure.allocated is None:
        return None
    stated = max(failure.allocated.middle_bytes, 1)
    return abs(allocated_bytes - stated) / stated


def agrees(alloc: Alloc, stack: Stack) -> bool:
    """Whether the traceback does not speak against the allocation.

    Losses are computed by a head's code, though no module's forward is running then.
    """
    operations = _LAYERS.get(stack.layer, ())
    part = alloc.module.partition(".")[0]
    return (
        (not stack.phase or stack.phase == alloc.phase.value)
        and (not stack.part or part in ("", stack.part))
        and (not operations or any(operation in alloc.op for operation in operations))
    )
