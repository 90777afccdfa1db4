"""The commands' reports as JSON: each a dump of the class of its result (documents.py).

Sizes are bytes and end in ``_bytes``. ``verdict`` is fits, over, depends or unknown, and null where
neither a GPU nor a budget was named. The same input gives the same bytes: no times, no order that
depends on chance. Keys may be added within a schema's version, never taken away or given a new
meaning.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from enum import Enum
from pathlib import PurePath
from typing import Any

from packaging.version import Version

from bevdiag.errors import Location
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Checks
from bevdiag.prediction.result import Prediction, TimelinePoint
from bevdiag.report.documents import WHERE_SAID, schema_of, value_of, written
from bevdiag.report.locations import shown_location
from bevdiag.report.timeline import phase_stretches, reduce_stretch

TIMELINE_POINTS = 256
"""About the length of the timeline, each point the highest of its stretch of the step."""


def as_json(report: object) -> str:
    """Write the document of a command's report, of several checks too, and a newline."""
    return dumps(plain(Checks(tuple(report)) if isinstance(report, Sequence) else report))


def plain(value: object) -> Any:
    """Turn a value into dicts, lists and scalars; places are as seen from the working directory."""
    if isinstance(value, Enum):
        return None if value is Verdict.NO_BUDGET else value.value
    if isinstance(value, Location):
        value = shown_location(value)
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
