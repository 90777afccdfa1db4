"""The event stream: what a training step asks of the device allocator, in order.

This is the one thing that passes from tracing (or from a recorded GPU run) to the allocator's
simulation. Sizes are the bytes that were asked for; rounding is the allocator's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


class Category(str, Enum):
    """What a block of memory is for."""

    PARAMETER = "parameter"
    GRADIENT = "gradient"
    OPTIMIZER_STATE = "optimizer state"
    ACTIVATION = "activation"
    WORKSPACE = "workspace"
    RULEBOOK = "rulebook"
    INPUT = "input"
    TEMPORARY = "temporary"


class Phase(str, Enum):
    """Where in the run an event falls."""

    LOAD = "load"
    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"


@dataclass(frozen=True, slots=True)
class ConvCall:
    """One convolution as the backend sees it; decides its workspace.

    Shapes are N, C, spatial...; weight is (out, in / groups, kernel...), for a transposed
    convolution (in, out / groups, kernel...). `element_bytes` is that of the compute dtype.
    `direction` is forward, dgrad or wgrad.
    """

    direction: str
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    element_bytes: int
    dtype: str
    channels_last: bool = False


@dataclass(frozen=True, slots=True)
class GemmWorkspace:
    """The cuBLAS workspace of one thread ("main" or "autograd"): made once, never freed."""

    thread: str


@dataclass(frozen=True, slots=True)
class StridedReduction:
    """A reduction of many numbers to each of `outputs` that lie side by side.

    Attributes:
        outputs: results, e.g. channels.
        inputs_per_output: numbers that each is made of.
        accumulator_bytes: of what is kept while adding, e.g. 16 of a mean with its variance.
    """

    outputs: int
    inputs_per_output: int
    accumulator_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RnnCall:
    """A stack of recurrent layers over `steps` x `batch` inputs of `inputs` features.

    `directions` is 2 for a bidirectional one.
    """

    kind: str
    steps: int
    batch: int
    inputs: int
    hidden: int
    layers: int
    directions: int
    element_bytes: int
    has_dropout: bool


Request = ConvCall | GemmWorkspace | StridedReduction | RnnCall
"""What asks for scratch memory of a size that the target settles."""


@dataclass(frozen=True, slots=True)
class Alloc:
    """A block is asked for.

    `nbytes` is what is asked for; it is 0 and settled by the target GPU when `request` is set.
    """

    block: int
    nbytes: int
    category: Category
    phase: Phase
    step: int
    module: str
    op: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Free:
    """The block's last owner lets go of it."""

    block: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A boundary: from here on, events belong to this step and phase (step 0 is loading)."""

    step: int
    phase: Phase


Event = Alloc | Free | Mark


@dataclass(frozen=True, slots=True)
class EventStream:
    """One traced or recorded run: loading (step 0) and the training steps 1, 2, ..."""

    events: Sequence[Event]
    num_steps: int
    unmodelled: tuple[str, ...] = field(default=())
    """Ops or modules whose memory is not known; they make every verdict "unknown"."""
