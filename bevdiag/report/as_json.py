"""The commands' reports as JSON: each a dump of the one class that describes its document.

Sizes are bytes and end in ``_bytes``. ``verdict`` is fits, over, depends or unknown, and null where
neither a GPU nor a budget was named. The same input gives the same bytes: no times, no order that
depends on chance. Keys may be added within a schema's version, never taken away or given a new
meaning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

from bevdiag.accuracy.outcome import Outcome, Validation
from bevdiag.doctor.examine import Checkup
from bevdiag.errors import Location
from bevdiag.explain.failure import Failure
from bevdiag.explain.result import Explanation
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Check, worst
from bevdiag.prediction.memory_use import Measurement, PhasePeak, TimelinePoint
from bevdiag.prediction.plan import Plan, recommended
from bevdiag.prediction.result import ConfigReport, Prediction
from bevdiag.prediction.variants import CompareReport
from bevdiag.remedies.results import FitReport, FixReport
from bevdiag.report.canonical_json import dumps
from bevdiag.report.documents.configs import CheckDocument, CompareDocument, PreflightDocument
from bevdiag.report.documents.failures import (
    DoctorDocument,
    ExplainDocument,
    FailureDocument,
    ImportDocument,
    OtherProcessDocument,
)
from bevdiag.report.documents.inspect import (
    FindingsDocument,
    FirstStepDocument,
    InspectDocument,
    MeasurementDocument,
    ParamsDocument,
    PhaseDocument,
    PlanDocument,
    SilencedDocument,
    SilencingDocument,
)
from bevdiag.report.documents.remedies import FitDocument, FixDocument
from bevdiag.report.documents.validation import MachineDocument, RowDocument, ValidateDocument
from bevdiag.report.places import shown_location
from bevdiag.report.timeline import phase_stretches, reduce_stretch
from bevdiag.rules.finding import Silenced

TIMELINE_POINTS = 256
"""About the length of the timeline, each point the highest of its stretch of the step."""
_WHERE_SAID = ("command", "stops", "offered_edits")
"""The keys that a document lacks where there is nothing to say."""

Document = TypeVar("Document")


def as_json(report: object) -> str:
    """The document of a command's report, as one JSON object and a newline."""
    return dumps(plain(document_of(report)))


def document_of(report: object) -> object:
    """The document of whatever a command came to.

    Raises:
        TypeError: no command comes to that.
    """
    if isinstance(report, Sequence):
        return preflight_document(report)
    for kind, make in _DOCUMENTS.items():
        if isinstance(report, kind):
            return make(report)
    raise TypeError(f"{type(report).__name__} has no document")


def plain(value: object) -> Any:
    """A value as dicts, lists and scalars; places are as seen from the working directory."""
    if isinstance(value, Enum):
        return None if value is Verdict.NO_BUDGET else value.value
    if isinstance(value, Location):
        value = shown_location(value)
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return {k: plain(v) for k, v in named.items() if v or k not in _WHERE_SAID}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.as_posix() if isinstance(value, PurePath) else value


def inspect_document(report: Prediction) -> InspectDocument:
    """What `bevdiag inspect` knows of a step."""
    return _filled(
        InspectDocument,
        report,
        params=ParamsDocument(
            total=report.params_total,
            modules=report.params_by_module,
            without_grad=report.params_without_grad,
        ),
        first_step=FirstStepDocument(peak_allocated_bytes=report.first_step_peak_bytes),
        phases=_phases(report.phases),
        timeline=_timeline(report.timeline),
        silenced=_silenced(report.silenced),
        remedies=_plans(report.remedies),
        recommended=recommended(report.recommended),
        measurement=_measurement(report.measurement),
    )


def config_document(report: ConfigReport) -> FindingsDocument:
    """What is known of a config that was not traced."""
    return _filled(
        FindingsDocument,
        report,
        verdict=None,
        refusal=report.refusal or None,
        silenced=_silenced(report.silenced),
    )


def preflight_document(checks: Sequence[Check]) -> PreflightDocument:
    """The checks, in the order in which configs were given."""
    return PreflightDocument(
        exit_code=worst(check.exit_code for check in checks),
        checks=tuple(
            _filled(
                CheckDocument,
                check,
                report=None if check.report is None else document_of(check.report),
            )
            for check in checks
        ),
    )


def fix_document(report: FixReport) -> FixDocument:
    """Every plan that was traced, and the chosen one."""
    return _filled(
        FixDocument,
        report,
        base=_filled(PlanDocument, report.base),
        chosen=None if report.chosen is None else _filled(PlanDocument, report.chosen),
        frontier=_plans(report.frontier),
        singles=_plans(report.singles),
        combined=_plans(report.combined),
    )


def explain_document(explanation: Explanation) -> ExplainDocument:
    """The message taken apart, and the allocations it may be about, the likeliest first."""
    return _filled(
        ExplainDocument,
        explanation,
        failure=_failure(explanation.failure),
        other_processes=tuple(map(_failure, explanation.others)),
        config=explanation.config or None,
    )


def doctor_document(checkup: Checkup) -> DoctorDocument:
    """The environment, its findings and the open questions."""
    environment = checkup.environment
    cuda = environment.torch_cuda()
    return _filled(
        DoctorDocument,
        checkup,
        source=environment.source,
        python=None if environment.python is None else str(environment.python),
        packages={
            name: str(package.version or package.specifier)
            for name, package in sorted(environment.packages.by_name.items())
        },
        torch_cuda=None if cuda is None else f"{cuda[0]}.{cuda[1]}",
        driver=environment.driver,
        imports=tuple(_filled(ImportDocument, probe) for probe in environment.probes),
    )


def validation_document(validation: Validation) -> ValidateDocument:
    """Every row beside its prediction."""
    return _filled(
        ValidateDocument,
        validation,
        machine=_filled(MachineDocument, validation.machine),
        num_covered=sum(outcome.is_covered for outcome in validation.predicted),
        rows=tuple(map(_row, validation.outcomes)),
    )


def _filled(kind: type[Document], source: object, /, **given: object) -> Document:
    """A document whose fields are given, or the source's of the same name, or its own defaults."""
    named = {
        field.name: getattr(source, field.name)
        for field in fields(kind)  # type: ignore[arg-type]
        if field.name not in given and hasattr(source, field.name)
    }
    return kind(**named, **given)


def _plans(plans: Sequence[Plan]) -> tuple[PlanDocument, ...]:
    return tuple(_filled(PlanDocument, plan) for plan in plans)


def _silenced(silenced: Sequence[Silenced]) -> tuple[SilencedDocument, ...]:
    return tuple(
        _filled(
            SilencedDocument,
            one.finding,
            silenced=SilencingDocument(reason=one.reason, location=one.location),
        )
        for one in silenced
    )


def _phases(phases: Sequence[PhasePeak]) -> dict[str, PhaseDocument]:
    return {one.phase: _filled(PhaseDocument, one) for one in phases}


def _timeline(points: tuple[TimelinePoint, ...]) -> tuple[TimelinePoint, ...]:
    reduced: list[TimelinePoint] = []
    for _, group in phase_stretches(points):
        share = -(-TIMELINE_POINTS * len(group) // len(points))
        reduced += reduce_stretch(group, min(len(group), share))
    return tuple(reduced)


def _measurement(measured: Measurement | None) -> MeasurementDocument | None:
    if measured is None:
        return None
    return _filled(MeasurementDocument, measured, phases=_phases(measured.phases))


def _failure(failure: Failure) -> FailureDocument:
    return _filled(
        FailureDocument,
        failure,
        kind=failure.kind.name.lower(),
        others=tuple(OtherProcessDocument(pid=pid, held=held) for pid, held in failure.others),
    )


def _row(outcome: Outcome) -> RowDocument:
    row = outcome.row
    return _filled(
        RowDocument,
        outcome,
        name=row.name,
        batch_size=row.batch_size,
        autocast=row.autocast,
        measured_allocated_bytes=row.peak_allocated_bytes,
        measured_reserved_bytes=row.max_reserved_bytes,
        measured_first_step_bytes=row.first_step_bytes,
        measured_params=row.params,
        covered=None if outcome.error else outcome.is_covered,
        error=outcome.error or None,
    )


_DOCUMENTS: Mapping[type, Callable[[Any], object]] = {
    Prediction: inspect_document,
    ConfigReport: config_document,
    CompareReport: partial(_filled, CompareDocument),
    FixReport: fix_document,
    FitReport: partial(_filled, FitDocument),
    Explanation: explain_document,
    Checkup: doctor_document,
    Validation: validation_document,
}
