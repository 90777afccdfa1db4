"""Predict each measured row as a user would, and say how far off it is."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bevdiag.config.load import load_config
from bevdiag.diagnose.foreign import source_batch
from bevdiag.diagnose.result import InspectOptions
from bevdiag.diagnose.session import Session
from bevdiag.diagnose.validation.rows import MeasuredRow, make_scene, read_rows
from bevdiag.errors import BevdiagError, NoVerdictError
from bevdiag.memory.device import DeviceTarget, make_target
from bevdiag.memory.events import EventStream
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
from bevdiag.source import read_source_config, trace_source
from bevdiag.source.values import Scenario as SourceScenario
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.step import Trace
from bevdiag.trace.workers import workers

Progress = Callable[[str, float], None]
OPTIMIZER = "adamw"
"""What the rows were measured with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredOn:
    """The machine of the rows."""

    gpu: str = "h200"
    torch: str = "2.11.0"
    cudnn: str = "9.19"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row beside its prediction; `error` says why there is none.

    `with_source` marks a prediction that ran the repository's own code.
    """

    row: MeasuredRow
    params: int | None = None
    allocated_bytes: int | None = None
    low_bytes: int | None = None
    high_bytes: int | None = None
    reserved_bytes: int | None = None
    with_source: bool = False
    error: str = ""

    @property
    def allocated_error(self) -> float | None:
        """Signed, relative to the measured peak."""
        return _relative(self.allocated_bytes, self.row.peak_allocated_bytes)

    @property
    def reserved_error(self) -> float | None:
        """Signed, relative to the measured reserved bytes."""
        return _relative(self.reserved_bytes, self.row.max_reserved_bytes)

    @property
    def is_covered(self) -> bool:
        """Whether the upper end is not under the truth."""
        return self.high_bytes is not None and self.high_bytes >= self.row.peak_allocated_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """All rows of some files."""

    machine: MeasuredOn
    outcomes: tuple[Outcome, ...]

    @property
    def predicted(self) -> tuple[Outcome, ...]:
        """The rows that have a prediction."""
        return tuple(outcome for outcome in self.outcomes if not outcome.error)

    def errors(self) -> list[float]:
        """Absolute relative errors of the allocated peaks."""
        return [abs(o.allocated_error) for o in self.predicted if o.allocated_error is not None]

    @property
    def max_reserved_error(self) -> float | None:
        """Largest absolute relative error of the reserved bytes, None without any."""
        errors = [abs(o.reserved_error) for o in self.predicted if o.reserved_error is not None]
        return max(errors, default=None)

    @property
    def median_error(self) -> float | None:
        """Median of `errors`, None without any."""
        return median(self.errors()) if self.predicted else None

    @property
    def max_error(self) -> float | None:
        """Largest of `errors`, None without any."""
        return max(self.errors(), default=None)


def validate(
    files: Sequence[Path],
    configs: Path | None,
    machine: MeasuredOn,
    progress: Progress,
    source: Path | None = None,
) -> Validation:
    """Predict the rows of `files` for the machine that they were measured on.

    With `source`, rows whose modules are not built in are traced with that repository's code.

    Raises:
        InputError: a file that is no rows file.
    """
    tasks = [(row, file.parent / "scenes.py") for file in files for row in read_rows(file, configs)]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:

        def predict(task: tuple[MeasuredRow, Path]) -> Outcome:
            return _outcome(*task, Path(folder), machine, source)

        with workers(predict) as predicted:
            for outcome in predicted(tasks):
                outcomes.append(outcome)
                progress(outcome.row.name, len(outcomes) / len(tasks))
    return Validation(machine=machine, outcomes=tuple(outcomes))


def _relative(predicted: int | None, measured: int) -> float | None:
    return None if predicted is None else (predicted - measured) / measured


def _outcome(
    row: MeasuredRow, script: Path, folder: Path, machine: MeasuredOn, source: Path | None
) -> Outcome:
    try:
        try:
            return _predict(row, script, folder, machine)
        except NoVerdictError:
            if source is None:
                raise
            return _predict_from_source(row, script, folder, machine, source)
    except BevdiagError as error:
        return Outcome(row=row, error=str(error))


def _predict(row: MeasuredRow, script: Path, folder: Path, machine: MeasuredOn) -> Outcome:
    data = load_config(row.config, row.overrides).data
    points = make_scene(row, script, folder, data.point_cloud_range, len(data.point_features))
    options = InspectOptions(
        points=points,
        batch_size=row.batch_size,
        autocast=row.autocast,
        optimizer=OPTIMIZER,
        compression=row.compression,
        overrides=row.overrides,
    )
    target = make_target(torch=machine.torch, gpu=machine.gpu, cudnn=row.cudnn or machine.cudnn)
    session = Session(replace(options, pins=dict(row.pins)))
    trace = session.trace(session.variant(row.config), (Scenario.EXPECTED,)).traces[
        Scenario.EXPECTED
    ]
    profile = simulate(trace.stream, target, until_oom=False)
    allocated = profile.peak.allocated_bytes
    low, high = _bounds(trace, options, row, target)
    return Outcome(
        row=row,
        params=trace.params_by_module["total"],
        allocated_bytes=allocated,
        low_bytes=min(allocated, low),
        high_bytes=max(allocated, high),
        reserved_bytes=profile.max_reserved_bytes,
    )


def _predict_from_source(
    row: MeasuredRow, script: Path, folder: Path, machine: MeasuredOn, source: Path
) -> Outcome:
    settings = read_source_config(row.config, row.overrides)
    num_features = len(settings.point_features)
    points = make_scene(row, script, folder, settings.point_cloud_range, num_features)
    batch = source_batch(settings, InspectOptions(points=points, batch_size=row.batch_size))
    traced = trace_source(
        row.config,
        source,
        batch=batch,
        autocast=row.autocast,
        optimizer=OPTIMIZER,
        overrides=row.overrides,
    )
    target = make_target(torch=machine.torch, gpu=machine.gpu, cudnn=machine.cudnn)
    profile = simulate(traced.trace.stream, target, until_oom=False)
    allocated = profile.peak.allocated_bytes
    low = traced.scenarios.get(SourceScenario.LOW, traced.trace)
    high = traced.scenarios.get(SourceScenario.HIGH, traced.trace)
    return Outcome(
        row=row,
        params=traced.params_by_module["total"],
        allocated_bytes=allocated,
        low_bytes=min(allocated, _peak(low.stream, target, Bound.LOW)),
        high_bytes=max(allocated, _peak(high.stream, target, Bound.HIGH)),
        reserved_bytes=profile.max_reserved_bytes,
        with_source=True,
    )


def _bounds(
    trace: Trace, options: InspectOptions, row: MeasuredRow, target: DeviceTarget
) -> tuple[int, int]:
    """Both ends of the peak. A pinned count holds for one step; the ends are of any count."""
    low, high = trace, trace
    if row.pins:
        session = Session(options)
        wanted = (Scenario.LOW, Scenario.HIGH)
        traces = session.trace(session.variant(row.config), wanted).traces
        low, high = traces[Scenario.LOW], traces[Scenario.HIGH]
    return _peak(low.stream, target, Bound.LOW), _peak(high.stream, target, Bound.HIGH)


def _peak(stream: EventStream, target: DeviceTarget, bound: Bound) -> int:
    return simulate(stream, target, until_oom=False, bound=bound).peak.allocated_bytes
