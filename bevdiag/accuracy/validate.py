"""Predict each measured row as a user would, and say how far off it is."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from bevdiag.accuracy.clouds import CloudOrder, Clouds, Scripted
from bevdiag.accuracy.outcome import MeasuredOn, MeasuredRow, Outcome, Validation
from bevdiag.accuracy.rows import read_rows, shipped_rows
from bevdiag.errors import BevdiagError, NoVerdictError
from bevdiag.memory.device import NO_PROFILE, DeviceTarget
from bevdiag.prediction.judged import judged
from bevdiag.prediction.options import InspectOptions, Progress
from bevdiag.prediction.predicted import source_of
from bevdiag.prediction.step_source import EVERY
from bevdiag.source import read_source_config
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.step import Trace
from bevdiag.trace.workers import workers

OPTIMIZER = "adamw"
"""What the rows were measured with."""
Task = tuple[MeasuredRow, Clouds]
_CONFIGS = Path("tools/cfgs")
_NEEDS_CONFIGS = (
    "measured with a config of OpenPCDet: name a checkout with --source, or its folder tools/cfgs "
    "with --configs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedRow:
    """The traces of a measured row's step, before the allocator's simulation.

    `known` is the outcome as far as it does not depend on that.
    """

    known: Outcome
    traces: Mapping[Scenario, Trace]
    target: DeviceTarget

    def outcome(self) -> Outcome:
        """Return the row beside what its traces come to on the target."""
        step = judged(self.traces, self.target)
        first = step.expected.first_step
        return replace(
            self.known,
            params=step.trace.params_by_module["total"],
            allocated_bytes=step.expected.peak.allocated_bytes,
            low_bytes=step.low_bytes,
            high_bytes=step.high_bytes,
            reserved_bytes=step.expected.max_reserved_bytes,
            first_step_bytes=first.allocated_bytes if first else None,
        )


def validate(
    files: Sequence[Path],
    configs: Path | None,
    machine: MeasuredOn,
    progress: Progress,
    source: Path | None = None,
    replaced: Mapping[str, str] | None = None,
) -> Validation:
    """Predict the rows of `files`, or those that come with bevdiag, for their machine.

    With `source`, rows are traced with that repository's code where they were measured with it:
    those of OpenPCDet, or those of the fork whose name the checkout's path holds. Others, and all
    without `source`, are traced with bevdiag's own modules. `replaced` is that of rows of `files`
    that say nothing of it.

    Raises:
        InputError: a file that is no rows file.
    """
    tasks = rows_to_predict(files, configs, source, replaced)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:

        def predict(task: Task) -> Outcome:
            try:
                traced = trace_row(*task, Path(folder), machine, source, measured_with=bool(files))
                return traced.outcome()
            except BevdiagError as error:
                return Outcome(row=task[0], error=str(error))

        with workers(
            predict, died=lambda task, why: Outcome(row=task[0], error=str(why))
        ) as predicted:
            for outcome in predicted(tasks):
                outcomes.append(outcome)
                progress(outcome.row.name, len(outcomes) / len(tasks))
    return Validation(machine=machine, outcomes=tuple(outcomes))


def rows_to_predict(
    files: Sequence[Path],
    configs: Path | None,
    source: Path | None,
    replaced: Mapping[str, str] | None = None,
) -> list[Task]:
    """Return the rows that `validate` predicts, with what makes their clouds."""
    if not files:
        return shipped_rows(configs or (source / _CONFIGS if source else None))
    return [
        (replace(row, replaced=row.replaced or replaced or {}), Scripted(file.parent / "scenes.py"))
        for file in files
        for row in read_rows(file, configs)
    ]


def trace_row(
    row: MeasuredRow,
    clouds: Clouds,
    folder: Path,
    machine: MeasuredOn,
    source: Path | None,
    *,
    measured_with: bool,
) -> TracedRow:
    """Return a row's traces, with the code that it was measured with where that is at hand.

    Built-in modules stand for it otherwise, except a fork's: its config may name modules that are
    built in and mean its own by them.

    Args:
        row: what was measured.
        clouds: makes its points.
        folder: takes the point files.
        machine: whose libraries the row has where it names none.
        source: the checkout of a repository.
        measured_with: whether the row was measured with it, whatever its path.

    Raises:
        BevdiagError: there is no prediction.
    """
    if row.fork and not (source and (measured_with or row.fork in source.resolve().parts)):
        raise NoVerdictError(
            f"measured with {row.fork}'s code: name its checkout, a folder {row.fork}, with "
            "--source"
        )
    if row.config is None:
        raise NoVerdictError(_NEEDS_CONFIGS)
    # The focal detector is built in: its rows are not of the repository that --source names.
    is_others = not (measured_with or row.fork or source is None) and _is_forks(source)
    code = None if row.is_focal or is_others else source
    return _trace(row, row.config, clouds, folder, machine, code)


@cache
def _is_forks(source: Path) -> bool:
    """Whether a checkout's path holds the name of a fork that rows were measured with."""
    forks = {row.fork for row, _ in shipped_rows(None)} - {""}
    return not forks.isdisjoint(source.resolve().parts)


def _trace(
    row: MeasuredRow,
    config: Path,
    clouds: Clouds,
    folder: Path,
    machine: MeasuredOn,
    source: Path | None,
) -> TracedRow:
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
        replaced=dict(row.replaced),
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
    known = Outcome(row=row, is_unsettled=is_unsettled, with_source=source is not None)
    return TracedRow(known=known, traces=traces, target=free.target())
