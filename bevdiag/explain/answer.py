"""A failure as its text has it, and what was found out about it: plain frozen values."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from bevdiag.errors import ExitCode
from bevdiag.explain.kinds import Kind
from bevdiag.memory.device import DeviceTarget
from bevdiag.rules.finding import Finding


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

    @property
    def printed_by(self) -> str | None:
        """The part whose code printed the message: empty if none's did, None if nothing tells."""
        is_known = self.part or (self.frame and "models/" not in self.frame)
        return self.part if is_known else None


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

    kind: Kind
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
        return self.kind.name

    @property
    def is_silent(self) -> bool:
        """Whether nothing was printed but that the process ended."""
        return self.kind.bare is not None and bool(self.kind.bare.search(self.sentence))

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


class Certainty(str, Enum):
    """How sure it is that a candidate is the allocation that failed."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An allocation of the predicted step that may be the one of the message.

    Attributes:
        module: the module that asks.
        phase: forward, backward, optimizer or load.
        step: the first training step in which it would stop the run; 0 is loading.
        what: tensor, workspace or segment, in words.
        arithmetic: how its bytes come about.
        nbytes: what is asked for.
        requested_bytes: the segment that the allocator would ask CUDA for.
        allocated_bytes: predicted to be allocated at that moment.
        condition: under which versions or counts the step asks for it, empty for the assumed ones.
        certainty: how sure.
        reasons: why, one sentence each.
    """

    module: str
    phase: str
    step: int
    what: str
    arithmetic: str
    nbytes: int
    requested_bytes: int
    allocated_bytes: int
    condition: str
    certainty: Certainty
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A rule whose fault prints such a text, and what it found.

    Attributes:
        code: of the rule.
        name: of the rule.
        summary: the fault, in a sentence.
        fix: what helps, paragraphs.
        looked_at: what the rule was run on: the config, its predicted step, or nothing (empty).
        findings: what it found there.
        certainty: certain where text and finding name the same numbers or names, likely where the
            text has none to compare, possible where they differ or nothing was found.
        doubt: how text and finding differ; empty where they do not.
    """

    code: str
    name: str
    summary: str
    fix: tuple[str, ...]
    looked_at: str = ""
    findings: tuple[Finding, ...] = ()
    certainty: Certainty = Certainty.POSSIBLE
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One failure, explained.

    Attributes:
        failure: the message, the last one of the text.
        others: the last messages of the other processes.
        decoded: what the text alone says, one sentence each.
        config: the config whose step was predicted; empty without one.
        target: GPU and versions of the prediction, None without one.
        candidates: the likeliest first.
        cause: what the figures alone decide, one sentence; empty where they decide nothing.
        suspicions: of a fault, the rules that know the text; those that found it first.
        notes: what the prediction takes for granted or cannot tell.
    """

    failure: Failure
    others: tuple[Failure, ...]
    decoded: tuple[str, ...]
    config: str = ""
    target: DeviceTarget | None = None
    candidates: tuple[Candidate, ...] = ()
    cause: str = ""
    suspicions: tuple[Suspicion, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """0 where the question is answered; 3 where a config was given and nothing matches."""
        found = self.candidates or any(one.findings for one in self.suspicions)
        if self.suspicions and not any(one.looked_at for one in self.suspicions):
            return ExitCode.FITS
        return ExitCode.NO_VERDICT if self.config and not found else ExitCode.FITS
