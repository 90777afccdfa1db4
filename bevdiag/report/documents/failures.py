"""The documents of what fails already: `bevdiag doctor` and `explain`."""

from dataclasses import dataclass
from typing import Literal

from bevdiag.environment.gpus import Driver
from bevdiag.errors import ExitCode
from bevdiag.explain.failure import Figure, Stack
from bevdiag.explain.result import Candidate, Suspicion
from bevdiag.prediction.result import Target
from bevdiag.rules.finding import Finding


@dataclass(frozen=True, kw_only=True)
class ImportDocument:
    """What became of an import that the doctor tried."""

    stage: str
    error: str
    signal: str


@dataclass(frozen=True, kw_only=True)
class DoctorDocument:
    """`bevdiag doctor`."""

    schema: Literal["bevdiag.doctor/1"] = "bevdiag.doctor/1"
    source: str
    python: str | None
    packages: dict[str, str]
    torch_cuda: str | None
    driver: Driver | None
    imports: tuple[ImportDocument, ...]
    exit_code: ExitCode
    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OtherProcessDocument:
    """A process that held memory, and how much."""

    pid: int
    held: Figure


@dataclass(frozen=True, kw_only=True)
class FailureDocument:
    """A message taken apart; a printed size stands for a range."""

    kind: str
    sentence: str
    line: int
    rank: str
    requested: Figure | None
    device: int | None
    total: Figure | None
    free: Figure | None
    in_use: Figure | None
    allowed: Figure | None
    allocated: Figure | None
    unallocated: Figure | None
    reserved: Figure | None
    others: tuple[OtherProcessDocument, ...]
    advises: str
    stack: Stack
    codes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExplainDocument:
    """`bevdiag explain`: what a failure's message may be about, the likeliest first."""

    schema: Literal["bevdiag.explain/1"] = "bevdiag.explain/1"
    failure: FailureDocument
    other_processes: tuple[FailureDocument, ...]
    decoded: tuple[str, ...]
    config: str | None
    target: Target | None
    candidates: tuple[Candidate, ...]
    cause: str
    suspicions: tuple[Suspicion, ...]
    notes: tuple[str, ...]
    exit_code: ExitCode
