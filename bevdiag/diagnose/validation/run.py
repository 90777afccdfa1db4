"""Predict each measured row as a user would, and say how far off it is."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bevdiag.config.load import load_config
from bevdiag.diagnose.foreign import source_batch
from bevdiag.diagnose.result import InspectOptions
from bevdiag.diagnose.session import Session
from bevdiag.diagnose.validation.outcome import MeasuredOn, MeasuredRow, Outcome, Validation
from bevdiag.diagnose.validation.rows import make_scene, read_rows
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
    target = _target(row, machine)
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
    target = _target(row, machine)
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


def _target(row: MeasuredRow, machine: MeasuredOn) -> DeviceTarget:
    """The machine, with the row's own cuDNN where it was measured with another."""
    return make_target(
        torch=machine.torch,
        gpu=machine.gpu,
        cudnn=row.cudnn or machine.cudnn,
        profile=machine.profile if row.cudnn is None else None,
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
