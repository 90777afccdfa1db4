"""A recorded state of memory, and what has grown since.

A baseline is a JSON file beside the configs, to be kept under version control: for every config
its peaks and what each top-level module keeps for the backward pass.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from bevdiag.files.reading import read_json
from bevdiag.prediction.checked import Check
from bevdiag.prediction.result import Prediction
from bevdiag.rules.budget import BaselineGrowth, grown_since_baseline

SCHEMA: Literal["bevdiag.baseline/1"] = "bevdiag.baseline/1"
MAX_BYTES = 2**24


class BaselineEntry(BaseModel):
    """What is recorded of one config; sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conditions: dict[str, str]
    params: NonNegativeInt
    peak_allocated_bytes: NonNegativeInt
    high_reserved_bytes: NonNegativeInt
    kept_for_backward_bytes: dict[str, NonNegativeInt]


class Baseline(BaseModel):
    """Every recorded config, by its path as seen from the file's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["bevdiag.baseline/1"] = Field(default=SCHEMA, alias="schema")
    configs: dict[str, BaselineEntry]

    def text(self) -> str:
        """Return the file's text; the same state gives the same bytes."""
        ordered = self.model_copy(update={"configs": dict(sorted(self.configs.items()))})
        return json.dumps(ordered.model_dump(by_alias=True), indent=2) + "\n"


def read_baseline(file: Path) -> Baseline:
    """Read a recorded state.

    Raises:
        InputError: the file cannot be read or is no baseline.
    """
    expected = "expected a baseline: record it with: bevdiag baseline write"
    return read_json(file, Baseline, MAX_BYTES, expected)


def record(checks: Iterable[Check], file: Path) -> Baseline:
    """Record the state of every config that was traced."""
    return Baseline(
        configs={
            _name(check.config, file): _entry(check.report)
            for check in checks
            if isinstance(check.report, Prediction)
        }
    )


def compared(check: Check, baseline: Baseline, file: Path, tolerance: float) -> Check:
    """Add what has grown by more than `tolerance`, a share of the recorded figure, to the check."""
    if not isinstance(check.report, Prediction):
        return check
    entry = baseline.configs.get(_name(check.config, file))
    if entry is None:
        note = f"{file.name} does not record it: bevdiag baseline write adds it"
        return replace(check, notes=(*check.notes, note))
    now = _entry(check.report)
    grown = tuple(grown_since_baseline(_growth(entry, now, tolerance)))
    return replace(check, growth=grown, notes=(*check.notes, *_notes(entry, now)))


def _growth(
    before: BaselineEntry, now: BaselineEntry, tolerance: float
) -> tuple[BaselineGrowth, ...]:
    totals = [
        _change("peak", before.peak_allocated_bytes, now.peak_allocated_bytes),
        _change("reserved", before.high_reserved_bytes, now.high_reserved_bytes),
    ]
    grown = [change for change in totals if _exceeds(change, tolerance)]
    if not grown:
        return ()
    kept: Mapping[str, int] = before.kept_for_backward_bytes
    modules = [
        _change(name, kept.get(name, 0), nbytes)
        for name, nbytes in now.kept_for_backward_bytes.items()
    ]
    guilty = [change for change in modules if _exceeds(change, tolerance)]
    guilty.sort(key=lambda change: change.before_bytes - change.now_bytes)
    return (*grown, *guilty)


def _change(what: str, before_bytes: int, now_bytes: int) -> BaselineGrowth:
    return BaselineGrowth(what=what, before_bytes=before_bytes, now_bytes=now_bytes)


def _exceeds(change: BaselineGrowth, tolerance: float) -> bool:
    return change.now_bytes > change.before_bytes * (1 + tolerance)


def _notes(before: BaselineEntry, now: BaselineEntry) -> list[str]:
    return [
        f"the baseline was recorded with {what} {before.conditions[what]}, this is {value}"
        for what, value in now.conditions.items()
        if before.conditions.get(what, value) != value
    ]


def _entry(report: Prediction) -> BaselineEntry:
    conditions = {
        "torch": report.target.torch,
        "cuDNN": report.target.cudnn_text,
        "GPU": report.target.gpu or "none named",
        "training loop": report.target.loop.words or "plain",
        "autocast": report.autocast,
        "optimizer": report.optimizer,
    }
    if report.scene is not None:  # the function of --entry has a batch of its own
        conditions |= {
            "batch size": str(report.scene.batch_size),
            "scene": report.scene.source,
        }
    return BaselineEntry(
        conditions=conditions,
        params=report.params.total,
        peak_allocated_bytes=report.peak.allocated_bytes,
        high_reserved_bytes=report.peak.high_reserved_bytes,
        kept_for_backward_bytes={
            layer.name: layer.saved_bytes for layer in report.layers if layer.depth == 0
        },
    )


def _name(config: str, file: Path) -> str:
    return Path(os.path.relpath(Path(config).resolve(), file.resolve().parent)).as_posix()
