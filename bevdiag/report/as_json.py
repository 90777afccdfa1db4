"""The commands' reports as JSON: each a dump of the class of its result.

A class is written with all its fields, or with the names that `_WRITTEN` gives it: fields and
properties, ``key=attribute`` where a document calls one otherwise, ``name?`` where it is null
for an empty text.

Sizes are bytes and end in ``_bytes``. ``verdict`` is fits, over, depends or unknown, and null where
neither a GPU nor a budget was named. The same input gives the same bytes: no times, no order that
depends on chance. Keys may be added within a schema's version, never taken away or given a new
meaning.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import reduce
from pathlib import PurePath
from typing import Any

from packaging.version import Version

from bevdiag.accuracy.outcome import MeasuredOn, Outcome, Validation
from bevdiag.doctor.examine import Checkup
from bevdiag.environment.probes import ImportProbe
from bevdiag.errors import Location
from bevdiag.explain.answer import Explanation, Failure
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.profile import PhaseUse
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Check, Checks
from bevdiag.prediction.result import (
    CompareReport,
    ConfigReport,
    Layer,
    Plan,
    Prediction,
    TimelinePoint,
    Variant,
)
from bevdiag.remedies.results import FitPoint, FitReport, FixReport
from bevdiag.report.timeline import phase_stretches, reduce_stretch
from bevdiag.rules.finding import Finding, Fix

TIMELINE_POINTS = 256
"""About the length of the timeline, each point the highest of its stretch of the step."""

DOCUMENTS: Mapping[type, str] = {
    Prediction: "inspect/2",
    ConfigReport: "findings/1",
    Checks: "preflight/2",
    CompareReport: "compare/1",
    FixReport: "fix/1",
    FitReport: "fit/1",
    Checkup: "doctor/1",
    Explanation: "explain/1",
    Validation: "validate/1",
}
"""The name and version of each class's document, which is its key ``schema``."""

WHERE_SAID: Mapping[type, tuple[str, ...]] = {
    Finding: ("command", "stops", "offered_edits", "fixes", "silenced")
}
"""The keys that a class's object lacks where there is nothing to say."""

_WRITTEN: Mapping[type, str] = {
    Prediction: "config model target device autocast optimizer scene params bev_channels peak "
    "first_step phases timeline layers wiring assumptions verdict exit_code oom gpus findings "
    "silenced remedies recommended=recommendation unmodelled measurement",
    DeviceTarget: "gpu capacity_bytes torch cudnn=cudnn_text compute_capability=capability_text "
    "profile=profile_words rules cudnn_benchmark context_bytes origin loop=loop.words doubt_bytes",
    PhaseUse: "peak_allocated_bytes allocated_after_bytes",
    Layer: "name type depth in_channels out_channels output_shape params saved_bytes peak_bytes "
    "workspace_bytes has_children",
    Finding: "code severity confidence message location key module detail command stops "
    "offered_edits fixes silenced",
    Fix: "id group title price loses unsafe needs",
    Plan: "id changes edits verdict peak_allocated_bytes high_bytes reserved_bytes params flops "
    "bev_channels error prices",
    Variant: "compression batch_size autocast bev_channels params peak_allocated_bytes high_bytes "
    "reserved_bytes largest_request_bytes largest_request_module difference_bytes verdict "
    "fits=fitting error",
    ConfigReport: "config verdict exit_code refusal? findings silenced",
    Check: "config exit_code verdict budget failure growth notes report",
    Checks: "exit_code checks",
    CompareReport: "config target scene variants assumptions exit_code findings",
    FixReport: "config target scene unsafe_allowed base chosen recommended diff written refusal "
    "frontier singles combined advice exit_code",
    FitPoint: "value verdict peak_allocated_bytes high_bytes reserved_bytes error",
    FitReport: "config target scene knob unit now largest binds_until points exit_code",
    Checkup: "source=environment.source python packages torch_cuda driver=environment.driver "
    "imports=environment.probes exit_code findings unknown",
    ImportProbe: "stage error signal",
    Failure: "kind=kind_name sentence line rank requested device total free in_use allowed "
    "allocated unallocated reserved others advises stack codes",
    Explanation: "failure other_processes=others decoded config? target candidates cause "
    "suspicions notes exit_code",
    MeasuredOn: "gpu torch cudnn",
    Outcome: "name=row.name batch_size=row.batch_size autocast=row.autocast "
    "measured_allocated_bytes=row.peak_allocated_bytes "
    "measured_reserved_bytes=row.max_reserved_bytes "
    "measured_first_step_bytes=row.first_step_bytes measured_params=row.params allocated_bytes "
    "low_bytes high_bytes reserved_bytes params allocated_error reserved_error first_step_bytes "
    "first_step_error covered error?",
    Validation: "machine median_error max_error max_reserved_error max_first_step_error "
    "max_unsettled_error misses num_covered rows=outcomes",
}


def schema_of(kind: type) -> str | None:
    """Return the name and version of the class's document, None where it is only part of others."""
    return next((DOCUMENTS[base] for base in kind.__mro__ if base in DOCUMENTS), None)


def written(kind: type) -> Iterator[tuple[str, str]]:
    """Each key that is written of a class, and the attribute that it is, as `_WRITTEN` has it."""
    named = next((_WRITTEN[base] for base in kind.__mro__ if base in _WRITTEN), None)
    names = named.split() if named else getattr(kind, "_fields", None)
    for name in names or [field.name for field in fields(kind)]:
        key, _, attribute = name.partition("=")
        yield key.rstrip("?"), attribute or key


def value_of(value: object, attribute: str) -> Any:
    """Return what the attribute holds."""
    found = reduce(getattr, attribute.rstrip("?").split("."), value)
    return None if attribute.endswith("?") and not found else found


def as_json(report: object) -> str:
    """Write the document of a command's report, of several checks too, and a newline."""
    return dumps(plain(Checks(tuple(report)) if isinstance(report, Sequence) else report))


def plain(value: object) -> Any:
    """Turn a value into dicts, lists and scalars; places are as seen from the working directory."""
    if isinstance(value, Enum):
        return None if value is Verdict.NO_BUDGET else value.value
    if isinstance(value, Location):
        value = value.shown()
    if isinstance(value, Prediction):
        value = replace(value, timeline=_reduced(value.timeline))
    if is_dataclass(value) or hasattr(value, "_fields"):
        kind = type(value)
        schema = schema_of(kind)
        named = {key: value_of(value, attribute) for key, attribute in written(kind)}
        left_out = [k for k in WHERE_SAID.get(kind, ()) if not named[k]]
        shown = {k: plain(v) for k, v in named.items() if k not in left_out}
        return shown if schema is None else {"schema": f"bevdiag.{schema}", **shown}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Version):
        return str(value)
    return value.as_posix() if isinstance(value, PurePath) else value


def _reduced(points: tuple[TimelinePoint, ...]) -> tuple[TimelinePoint, ...]:
    reduced: list[TimelinePoint] = []
    for _, group in phase_stretches(points):
        share = -(-TIMELINE_POINTS * len(group) // len(points))
        reduced += reduce_stretch(group, min(len(group), share))
    return tuple(reduced)


def dumps(document: dict[str, Any]) -> str:
    """Two-space indent, ASCII only, keys in the document's order, a newline at the end.

    Raises:
        ValueError: for an infinity or NaN, which JSON does not have.
    """
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
