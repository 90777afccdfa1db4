"""Predict each measured row as a user would, and say how far off it is."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bevdiag.accuracy.clouds import CloudOrder, Clouds, Scripted
from bevdiag.accuracy.outcome import MeasuredOn, MeasuredRow, Outcome, Validation
from bevdiag.accuracy.rows import read_rows
from bevdiag.accuracy.shipped import shipped_rows
from bevdiag.errors import BevdiagError, NoVerdictError
from bevdiag.memory.device import NO_PROFILE
from bevdiag.prediction.judged import Judged, judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import source_of
from bevdiag.prediction.step_source import EVERY
from bevdiag.source import read_source_config
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.workers import workers

Progress = Callable[[str, float], None]
OPTIMIZER = "adamw"
"""What the rows were measured with."""
Task = tuple[MeasuredRow, Clouds]
_CONFIGS = Path("tools/cfgs")
_NEEDS_CONFIGS = (
    "measured with a config of OpenPCDet: name a checkout with --source, or its folder tools/cfgs "
    "with --configs"
)


def validate(
    files: Sequence[Path],
    configs: Path | None,
    machine: MeasuredOn,
    progress: Progress,
    source: Path | None = None,
) -> Validation:
    """Predict the rows of `files`, or those that come with bevdiag, for their machine.

    With `source`, rows of `files` are traced with that repository's code, which is what they were
    measured with; of the rows that come with bevdiag, those of OpenPCDet whose modules are not
    built in, or those of the fork whose name the checkout's path holds.

    Raises:
        InputError: a file that is no rows file.
    """
    tasks = _tasks(files, configs, source)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:

        def predict(task: Task) -> Outcome:
            return _outcome(*task, Path(folder), machine, source, measured_with=bool(files))

        with workers(predict, died=_died) as predicted:
            for outcome in predicted(tasks):
                outcomes.append(outcome)
                progress(outcome.row.name, len(outcomes) / len(tasks))
    return Validation(machine=machine, outcomes=tuple(outcomes))


def _tasks(files: Sequence[Path], configs: Path | None, source: Path | None) -> list[Task]:
    if not files:
        return shipped_rows(configs or (source / _CONFIGS if source else None))
    return [
        (row, Scripted(file.parent / "scenes.py"))
        for file in files
        for row in read_rows(file, configs)
    ]


def _died(task: Task, death: BevdiagError) -> Outcome:
    return Outcome(row=task[0], error=str(death))


def _outcome(
    row: MeasuredRow,
    clouds: Clouds,
    folder: Path,
    machine: MeasuredOn,
    source: Path | None,
    *,
    measured_with: bool,
) -> Outcome:
    """One row's prediction; `measured_with` says that `source` is what the row was measured with.

    A fork's config may name the modules that are built in and mean its own by them.
    """
    if row.fork and not (source and (measured_with or row.fork in source.resolve().parts)):
        return Outcome(
            row=row,
            error=f"measured with {row.fork}'s code: name its checkout, a folder {row.fork}, with "
            "--source",
        )
    if row.config is None:
        return Outcome(row=row, error=_NEEDS_CONFIGS)
    has_own_code = bool(row.fork) or (measured_with and not row.is_focal)
    predict = partial(_predict, row, row.config, clouds, folder, machine)
    try:
        if source is not None and has_own_code:
            return predict(source)
        try:
            return predict(None)
        except NoVerdictError:
            if source is None:
                raise
            return predict(source)
    except BevdiagError as error:
        return Outcome(row=row, error=str(error))


def _predict(
    row: MeasuredRow,
    config: Path,
    clouds: Clouds,
    folder: Path,
    machine: MeasuredOn,
    source: Path | None,
) -> Outcome:
    if row.loop.evaluates and source is None:
        raise NoVerdictError("evaluation is predicted with a repository's own code")
    settings = read_source_config(config, row.overrides, row.loop.split)
    order = CloudOrder(row, folder, settings.point_cloud_range, len(settings.point_features))
    clouds(order)
    options = InspectOptions(
        points=order.files,
        in_file_order=True,
        batch_size=row.batch_size,
        autocast=row.autocast,
        optimizer=OPTIMIZER,
        compression=None if source else row.compression,
        overrides=row.overrides,
        source=str(source) if source else None,
        gpu=machine.gpu,
        torch=row.torch or machine.torch,
        cudnn=row.cudnn or machine.cudnn,
        # A row that was measured with another cuDNN has a profile of its own or none.
        profile=None
        if row.cudnn is not None and machine.profile != NO_PROFILE
        else machine.profile,
        loop=row.loop,
    )
    free = source_of(config, options).as_it_arrives()
    pins = {} if source else dict(row.pins)
    # A pinned count holds for one step; the ends are of any count.
    recorded = free.record((Scenario.LOW, Scenario.HIGH) if pins else EVERY)
    traces = dict(recorded.traces)
    if pins:
        pinned = source_of(config, replace(options, pins=pins)).as_it_arrives()
        traces |= pinned.record((Scenario.EXPECTED,)).traces
    is_unsettled = bool(pins) and row.first_step_bytes is not None
    if source:
        is_unsettled = any(counted.low != counted.high for counted in recorded.assumptions)
    step = judged(traces, free.target())
    return _beside(row, step, is_unsettled=is_unsettled, with_source=source is not None)


def _beside(row: MeasuredRow, step: Judged, *, is_unsettled: bool, with_source: bool) -> Outcome:
    first = step.expected.first_step
    allocated = step.expected.peak.allocated_bytes
    return Outcome(
        row=row,
        params=step.trace.params_by_module["total"],
        allocated_bytes=allocated,
        low_bytes=step.low_bytes,
        high_bytes=step.high_bytes,
        reserved_bytes=step.expected.max_reserved_bytes,
        first_step_bytes=first.allocated_bytes if first else None,
        with_source=with_source,
        is_unsettled=is_unsettled,
    )
