"""What asks for scratch memory whose size the GPU and its libraries settle."""

from dataclasses import dataclass
from enum import Enum


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


class Bound(Enum):
    """Which end of an interval to take."""

    LOW = "low"
    EXPECTED = "expected"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class WorkspaceBytes:
    """Bounds and the most likely size of a workspace.

    `is_optional` says whether the step goes on where the device cannot give it: cuDNN then skips
    the engine and takes one that needs no workspace.
    """

    low: int
    expected: int
    high: int
    is_optional: bool = False

    def at(self, bound: Bound) -> int:
        """Return the bytes at one end of the interval, or between."""
        return {Bound.LOW: self.low, Bound.HIGH: self.high}.get(bound, self.expected)
