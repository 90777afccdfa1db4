"""What `bevdiag explain` found out, ready for any renderer."""

from dataclasses import dataclass
from enum import Enum

from bevdiag.errors import ExitCode
from bevdiag.explain.failure import Failure
from bevdiag.prediction.result import Target
from bevdiag.rules.finding import Finding


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
    target: Target | None = None
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
