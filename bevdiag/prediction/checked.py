"""What `bevdiag preflight` and `check` know of each config, and what they tell their caller."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bevdiag.children import exhausts_host
from bevdiag.config import from_document, read_document
from bevdiag.errors import BevdiagError, ConfigError, ExitCode, NoVerdictError
from bevdiag.memory.verdict import Verdict
from bevdiag.policy import Setting
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import ConfigReport, Prediction
from bevdiag.rules.checks import config_findings, sifted, stops
from bevdiag.rules.codes import RuleStage
from bevdiag.rules.finding import Finding, Silencing

_WORST_FIRST = (ExitCode.USAGE, ExitCode.FINDINGS, ExitCode.NO_VERDICT, ExitCode.FITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One config to check, with what is decided for it.

    Attributes:
        config: its file.
        options: how to inspect it.
        budget: what it is judged by, in words.
        ignore: the rules that the project's policy silences, by code.
    """

    config: Path
    options: InspectOptions
    budget: str = ""
    ignore: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One config's outcome.

    Attributes:
        config: its name, as it was given.
        budget: what it was judged by, in words; empty where there was no budget.
        report: what was found out; None where the config failed.
        failure: why there is no report, one sentence.
        failure_code: the exit code that this failure leads to.
        growth: the finding that it has grown beyond the baseline, if it has.
        notes: what a reader should know about the comparison.
    """

    config: str
    budget: str = ""
    report: Prediction | ConfigReport | None = None
    failure: str = ""
    failure_code: ExitCode = ExitCode.FITS
    growth: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict | None:
        """The verdict; None where nothing was traced."""
        return self.report.verdict if isinstance(self.report, Prediction) else None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, the growth first; of a config that failed, nothing."""
        return (*self.growth, *(self.report.findings if self.report is not None else ()))

    @property
    def silenced(self) -> tuple[Finding, ...]:
        """What comments and the policy silence."""
        return self.report.silenced if self.report is not None else ()

    @property
    def exit_code(self) -> ExitCode:
        own = self.failure_code if self.report is None else self.report.exit_code
        return worst([own, ExitCode.FINDINGS if self.growth else ExitCode.FITS])


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of several configs, in the order in which these were given."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> ExitCode:
        return worst(check.exit_code for check in self.checks)


def failed(config: Path, error: Exception, budget: str = "") -> Check:
    """Make the check of a config that could not be used, or that met a defect of bevdiag.

    That is no reason to keep quiet about the other configs. A host whose memory did not suffice
    is: there the error is raised again.
    """
    if isinstance(error, BevdiagError):
        failure, code = str(error), error.exit_code
    elif exhausts_host(error):
        raise error
    else:
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        failure, code = f"internal error: {what}", ExitCode.NO_VERDICT
    return Check(config=str(config), budget=budget, failure=failure, failure_code=code)


def without_ignored(
    report: Prediction | ConfigReport, ignore: Mapping[str, Setting]
) -> Prediction | ConfigReport:
    """Return the report without the findings that the policy silences; they stay listed as such."""
    silenced = tuple(
        replace(finding, silenced=Silencing(rule.text, rule.location))
        for finding in report.findings
        if (rule := ignore.get(finding.code)) is not None
    )
    stay = tuple(finding for finding in report.findings if finding.code not in ignore)
    return replace(report, findings=stay, silenced=(*report.silenced, *silenced))


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the code that speaks for all.

    A config that cannot be used comes before one that does not fit, and that before one without a
    verdict: what is broken hides what is wrong, and what is wrong is known.
    """
    given = set(codes)
    return next((code for code in _WORST_FIRST if code in given), ExitCode.FITS)


def worst_last(checks: Iterable[Check]) -> list[Check]:
    """Sort the checks so that what matters most is at the end, where a terminal leaves it."""
    return sorted(checks, key=lambda check: -_WORST_FIRST.index(check.exit_code))


def check_untraced(
    config: Path,
    ignore: Mapping[str, Setting],
    overrides: Sequence[str] = (),
    data_root: Path | None = None,
) -> Check:
    """Check one config by the rules that need it alone.

    Args:
        config: its file.
        ignore: the rules that the project's policy silences, by code.
        overrides: ``KEY=value`` texts.
        data_root: the folder that relative data paths start from; None does not look for data.
    """
    name = str(config)
    settings, refusal = None, None
    try:
        document = read_document(config, overrides)
        try:
            settings = from_document(config, document)
        except (ConfigError, NoVerdictError) as error:
            refusal = error
        found = config_findings(document, settings, data_root)
        findings, silenced = sifted(found, document, RuleStage.CONFIG)
        if isinstance(refusal, ConfigError) and not stops(findings):
            raise refusal
    except Exception as error:
        return failed(config, error)
    report = ConfigReport(config=name, findings=findings, silenced=silenced, is_untried=True)
    # What bevdiag does not model is no fault of the config.
    notes = (str(refusal),) if isinstance(refusal, NoVerdictError) else ()
    return Check(config=name, report=without_ignored(report, ignore), notes=notes)
