"""A failure, as its text tells it: plain frozen values."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class FailureKind(str, Enum):
    """Who refused what."""

    ALLOCATOR = "PyTorch's caching allocator"
    ASYNC_ALLOCATOR = "CUDA's own asynchronous allocator"
    DRIVER = "CUDA itself"
    CUBLAS = "cuBLAS"
    CUDNN = "cuDNN"
    NO_ENGINE = "every engine of cuDNN"
    NCCL = "NCCL"
    SPCONV = "spconv's own CUDA calls"
    HOST = "the host"
    KILLED = "the operating system, which ended the process"
    SHARED_MEMORY = "the host's shared memory"
    WORKER = "the operating system, which ended a data loader's worker"
    NO_VOXEL = "spconv, which was handed no voxel"
    INDEX = "an index beyond the size of a tensor"
    CLASS_NAME = "a class that CLASS_NAMES lacks"
    NAN = "a value that is not a number"
    FEATURES = "points with other features than the model was built for"
    CUDNN_OTHER = "a kernel of cuDNN or cuBLAS that failed, for a reason that it does not print"
    CUDNN_INPUT = "an input that the library has no kernel for"
    CUDNN_VERSION = "another cuDNN than torch's own"
    GPU = "the GPU or its driver, which cannot be used as it is"
    CHECKPOINT = "a checkpoint of another model"
    COLLATE = "samples of different sizes in one batch"
    CONFIG_KEY = "a key that the config lacks"
    ONE_SAMPLE = "a batch norm with a single value a channel"
    NUMPY = "a NumPy that is newer than the code"
    LIBRARY = "a system library that is older than an extension"
    DESCRIPTORS = "the limit of open files"
    NCCL_OTHER = "NCCL, for another reason than memory"
    WORKER_ENDED = "a data loader's worker, which ended before it handed over its batch"
    FAULT = "a fault that is not about memory"


PREDICTABLE = (FailureKind.ALLOCATOR, FailureKind.ASYNC_ALLOCATOR)
"""Whose messages name a request of the step itself."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A size as it was printed, and the bytes that print like it, both ends included."""

    text: str
    low_bytes: int
    high_bytes: int

    @property
    def middle_bytes(self) -> int:
        """The likeliest value: the printed one."""
        return (self.low_bytes + self.high_bytes) // 2

    def holds(self, nbytes: int) -> bool:
        """Whether that many bytes print like this."""
        return self.low_bytes <= nbytes <= self.high_bytes


class OtherProcess(NamedTuple):
    """A process that held memory, and how much."""

    pid: int
    held: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What the Python traceback before a message says; empty where there was none.

    Attributes:
        phase: forward, backward or optimizer.
        part: the detector's direct child that ran, e.g. backbone_2d.
        layer: the file of torch.nn that ran innermost: conv, batchnorm, linear and so on.
        frame: the innermost frame that is not PyTorch's own, as file:line.
    """

    phase: str = ""
    part: str = ""
    layer: str = ""
    frame: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One message.

    Attributes:
        kind: who refused.
        sentence: the message's first sentence.
        line: its line in the text, from 1.
        rank: of which process, as the log's prefix tells; empty without one.
        requested: what was asked for.
        device: the GPU's number.
        total: the GPU's memory.
        free: what CUDA could still give.
        in_use: what the process held, allocator and context together.
        allowed: the limit that was set for the process.
        allocated: handed out by the allocator.
        unallocated: cached by the allocator, but not handed out.
        reserved: both together.
        others: other processes on the GPU and what they held.
        advises: the setting that the message itself recommends; empty where it names none.
        stack: what the traceback says.
        codes: of a fault, the rules that look for it.
    """

    kind: FailureKind
    sentence: str
    line: int
    rank: str = ""
    requested: Figure | None = None
    device: int | None = None
    total: Figure | None = None
    free: Figure | None = None
    in_use: Figure | None = None
    allowed: Figure | None = None
    allocated: Figure | None = None
    unallocated: Figure | None = None
    reserved: Figure | None = None
    others: tuple[OtherProcess, ...] = ()
    advises: str = ""
    stack: Stack = Stack()
    codes: tuple[str, ...] = ()

    @property
    def kind_name(self) -> str:
        """Who refused, as documents call it."""
        return self.kind.name.lower()

    @property
    def reserved_bytes(self) -> int | None:
        """What the allocator held when it gave up."""
        if self.reserved is not None:
            return self.reserved.middle_bytes
        if self.allocated is not None and self.unallocated is not None:
            return self.allocated.middle_bytes + self.unallocated.middle_bytes
        return None

    @property
    def unallocated_bytes(self) -> int | None:
        """What the allocator had cached and could not use."""
        if self.unallocated is not None:
            return self.unallocated.middle_bytes
        if self.reserved is not None and self.allocated is not None:
            return self.reserved.middle_bytes - self.allocated.middle_bytes
        return None

    @property
    def capacity_bytes(self) -> int | None:
        """The most that the allocator could have reserved; None where the text does not say."""
        reserved = self.reserved_bytes
        if self.allowed is not None:
            return self.allowed.middle_bytes
        if reserved is None or self.free is None:
            return None
        return reserved + self.free.middle_bytes
