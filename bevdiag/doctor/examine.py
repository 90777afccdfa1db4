"""`bevdiag doctor`: what is wrong with the environment that a training would run in."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bevdiag.environment.environment import (
    Chip,
    Environment,
    installed_environment,
    listed_environment,
)
from bevdiag.environment.gpus import Driver
from bevdiag.environment.packages import is_spconv_1
from bevdiag.environment.wheels import (
    SpconvLine,
    compilable,
    driver_cuda,
    spconv_line,
    spconv_taken,
)
from bevdiag.errors import ExitCode, InputError
from bevdiag.memory.catalogue import find_gpu
from bevdiag.prediction.options import Progress
from bevdiag.rules.codes import CODES, RuleStage, rule_of
from bevdiag.rules.env_packages import built_for
from bevdiag.rules.finding import Confidence, Finding, Severity, worst_first


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """One environment and its findings.

    Attributes:
        environment: what was looked at.
        findings: what is wrong with it, errors first, within a severity in the table's order.
        unknown: what could not be decided, and what would decide it.
        looked_at: what was compared with what, as far as the environment says it.
    """

    environment: Environment
    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]
    looked_at: tuple[str, ...] = ()

    @property
    def python(self) -> str | None:
        """Its Python's version, as documents say it."""
        return None if self.environment.python is None else str(self.environment.python)

    @property
    def packages(self) -> dict[str, str]:
        """The versions, or what is asked of them, by name."""
        packages = sorted(self.environment.packages.by_name.items())
        return {name: str(package.version or package.specifier) for name, package in packages}

    @property
    def torch_cuda(self) -> str | None:
        """The CUDA that its torch was built with."""
        cuda = self.environment.torch_cuda()
        return None if cuda is None else f"{cuda[0]}.{cuda[1]}"

    @property
    def exit_code(self) -> ExitCode:
        certain = [f for f in self.findings if f.confidence is Confidence.CERTAIN]
        if any(finding.severity is Severity.ERROR for finding in certain):
            return ExitCode.FINDINGS
        if self.unknown or len(certain) < len(self.findings):
            return ExitCode.NO_VERDICT
        return ExitCode.FITS


def examine(
    requirements: Path | None, gpu: str | None, driver: str | None, progress: Progress
) -> Checkup:
    """Look at the environment at hand, or at one that a file lists.

    Args:
        requirements: the list; None for the environment at hand.
        gpu: a GPU of the catalogue to judge by, instead of those at hand.
        driver: the version of an NVIDIA driver to judge by, instead of the one at hand.
        progress: called with what is being done.

    Raises:
        InputError: a file that is no list of packages, or an unknown GPU or driver.
    """
    environment = (
        installed_environment(progress)
        if requirements is None
        else listed_environment(requirements)
    )
    if gpu is not None:
        known = find_gpu(gpu)
        major, minor = known.compute_capability
        environment = replace(environment, chips=(Chip(known.name, 10 * major + minor),))
    if driver is not None:
        environment = replace(environment, driver=_driver(driver))
    return Checkup(
        environment=environment,
        findings=findings_of(environment),
        unknown=tuple(_unknown(environment)),
        looked_at=tuple(_looked_at(environment)),
    )


def findings_of(environment: Environment) -> tuple[Finding, ...]:
    """Return what all rules of an environment find, errors first."""
    rows = (row for row in CODES.values() if row.stage is RuleStage.ENVIRONMENT)
    return tuple(worst_first(found for row in rows for found in rule_of(row)(environment)))


def _driver(version: str) -> Driver:
    cuda = driver_cuda(version)
    if cuda is None:
        raise InputError(f"--driver: {version!r} is no driver version: write it like 535.104")
    return Driver(version=version, cuda=cuda)


def _unknown(environment: Environment) -> Iterator[str]:
    """Yield the questions that neither the environment nor the options answer."""
    torch, cuda = environment.torch, environment.torch_cuda()
    spconvs = environment.packages.spconv()
    if torch is None and not spconvs:
        yield "neither torch nor spconv is there: is this the environment of a training?"
    if torch is not None and torch.version is None:
        yield f"which torch {torch} becomes: pin it to have its CUDA and cuDNN checked"
    if not environment.is_installed and environment.python is None and spconvs:
        yield "whether spconv has a wheel for your Python: add a line python==3.X"
    version = torch.version if torch is not None else None
    is_cpu = version is not None and version.local == "cpu"
    if version is not None and not (is_cpu or environment.is_installed):
        if cuda is None and not environment.packages.get("cpuonly"):
            yield f"which CUDA {torch} was built with: list it as {version.public}+cuXYZ"
        elif cuda is not None and compilable(cuda) is None:
            yield f"which GPUs {torch} has kernels for: CUDA {cuda[0]}.{cuda[1]} is not known"
    for package in spconvs:
        taken = spconv_taken(package)
        line = spconv_line(taken)
        if not is_spconv_1(package) and (line is None or not _has_end(line)):
            yield (
                f"which cumm {package.name} {taken or package.specifier} goes with: only releases "
                "from 2.3.1 on name the last one that they take"
            )
        if is_spconv_1(package):
            yield (
                f"whether {package} goes with the torch that is there: it has no wheels, and was "
                "compiled against one torch and CUDA; spconv 2 (spconv-cuXYZ) needs no compiler"
            )


def _has_end(line: SpconvLine) -> bool:
    return any(clause.operator.startswith("<") for clause in line.cumm)


def _looked_at(environment: Environment) -> Iterator[str]:
    torch, cuda = environment.torch, environment.torch_cuda()
    spconvs, packages = environment.packages.spconv(), environment.packages
    if torch is not None and cuda is not None:
        yield f"torch's CUDA {cuda[0]}.{cuda[1]}"
        if environment.driver is not None:
            yield "the driver beside it"
        yield from (f"its kernels for {chip.name}" for chip in environment.chips)
    if spconvs:
        yield "spconv beside torch's CUDA"
        yield from (f"its kernels for {chip.name}" for chip in environment.chips)
    if packages.cumm():
        yield "cumm beside spconv and NumPy"
    if spconvs and environment.python is not None:
        yield f"spconv's wheels for Python {environment.python.major}.{environment.python.minor}"
    yield from (
        f"{package.name}'s torch"
        for package in packages.by_name.values()
        if built_for(package) is not None
    )
    if environment.probes:
        yield "the imports"
