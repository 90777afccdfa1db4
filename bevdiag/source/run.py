"""Traces a repository in a child process, and outlives whatever happens to it.

The child imports the repository, builds its model and traces its step.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.children import EXHAUSTED, ChildError, Tell, announce, in_child
from bevdiag.errors import InputError
from bevdiag.files.known import note_input
from bevdiag.scenes import Batch, Scenario
from bevdiag.source import build, cuda_api, downloads
from bevdiag.source.dialects import dialect_of
from bevdiag.source.dialects.protocol import Dialect, NotInBatchError, Supply, as_on_a_gpu
from bevdiag.source.failures import as_failure, exits_reported, failures_reported, watch_exits
from bevdiag.source.locks import divert_programs, lock
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.scratch import MIRROR, Scratch
from bevdiag.source.settings import SourceSettings, read_source_config
from bevdiag.source.state import noted, whose_code
from bevdiag.source.stubs import inert
from bevdiag.source.stubs.imports import StubFinder
from bevdiag.trace.alternatives import Scenarios, TracedStep
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.flops import FlopCounter
from bevdiag.trace.places import set_root
from bevdiag.trace.real_run import OTHER_SEEDS, SEED, prepare, run_for_real
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.rehearsal import Effort, Prompter, Rehearsal, can_rehearse
from bevdiag.trace.settling import settle
from bevdiag.trace.step import StepHooks, StepOptions, Trace, trace_steps

_SMALLER = (
    "give it fewer samples (--batch-size 1; with --entry, those that the function makes), or try "
    "again where more memory is free"
)
"""What helps a step whose tensors with values the host cannot hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTask:
    """What the child is to do.

    Attributes:
        dialect: how the repository's family trains.
        scratch: an empty folder for what the code writes.
        scenes: the expected one, and those of the other scenarios where they differ from it,
            voxelized as the config says; or a batch that the user saved.
        pins: counts by site, as an earlier trace named the sites.
        overrides: `KEY=value` texts that the config was read with.
        rehearses: whether the forward pass is run on the CPU for values that decide.
        loads: whether the repository's own data pipeline makes the batch of the scene; where not,
            the scene's points, voxels and boxes are the batch.
    """

    dialect: Dialect
    scratch: Path
    scenes: Mapping[Scenario, Batch | SavedBatch]
    options: StepOptions
    pins: Mapping[str, int]
    overrides: Sequence[str] = ()
    rehearses: bool = True
    loads: bool = True


def read_settings(
    config: Path, source_dir: Path, overrides: Sequence[str] = (), split: str = "train"
) -> SourceSettings:
    """Read what bevdiag itself needs of a repository's config.

    A Python config is code: it is run in a child process.

    Raises:
        ConfigError: the config cannot be read, or lacks what a scene is made from.
        InputError: no dialect of Python configs recognises the repository.
        NoVerdictError: the config's code fails.
    """
    if config.suffix != ".py":
        return read_source_config(config, overrides, split)
    if not config.is_file():
        raise InputError(f"there is no config {config}")
    dialect = dialect_of(source_dir.resolve(), config.resolve(), overrides)
    with tempfile.TemporaryDirectory(prefix="bevdiag-") as scratch:
        return in_child(
            _read,
            (dialect, Path(scratch), split),
            name="the process that read the config",
            capped=True,
            captured=True,
        )


def trace_step(
    dialect: Dialect, options: StepOptions, timeout_seconds: float | None = None, **task: Any
) -> TracedStep:
    """Trace the training step of a dialect, in a child process.

    This imports and runs the code that the dialect stands for, and what it imports. A child that
    dies after the trace of the expected scenario leaves that trace.

    Args:
        dialect: how the code is run.
        options: how the step is run.
        timeout_seconds: of silence, after which the child is stopped.
        task: what else `SourceTask` takes: `scenes` and `pins` at least.

    Raises:
        InputError: the code gives no step that can be traced.
        NoVerdictError: the code fails, asks for something that is not modelled, dies or hangs.
    """
    reported: list[TracedStep] = []
    with tempfile.TemporaryDirectory(prefix="bevdiag-") as scratch:
        try:
            result = in_child(
                _run,
                SourceTask(dialect=dialect, options=options, scratch=Path(scratch), **task),
                name="the process that ran the repository",
                reported=reported.append,
                timeout_seconds=timeout_seconds,
                capped=True,
                captured=True,
            )
        except ChildError as death:
            if not reported:
                if EXHAUSTED in str(death):
                    raise ChildError(f"{death}: {_SMALLER}") from death
                raise
            # What it had found out before it died stands.
            failure = f"with other counts than the expected ones, {death}"
            result = reported[-1]
            result.findings = (*result.findings, failure)
            result.leave_open(failure)
    result.findings = (*result.findings, *result.expected.notes)
    return result


# -- in the child ----------------------------------------------------------------------------------


def _read(task: tuple[Dialect, Path, str], _: Tell) -> SourceSettings:
    """Read a config that is code, given its dialect, an empty folder and the split."""
    dialect, scratch, split = task
    with failures_reported():
        _enter(dialect, scratch, [])
        return dialect.settings(split)


def _run(task: SourceTask, tell: Tell) -> TracedStep:
    """Trace, telling the `TracedStep` so far before each scenario that follows the expected one."""
    findings: list[str] = []
    with failures_reported(findings), without_compiler():
        return _trace(task, findings, tell)


def _trace(task: SourceTask, findings: list[str], tell: Tell) -> TracedStep:
    torch.set_num_threads(1)
    dialect = task.dialect
    cuda_api.pretend()
    downloads.refuse(findings)
    diverted: list[str] = []
    left_out: list[str] = []
    try:
        finder = _enter(dialect, task.scratch, diverted)
        build.import_model(dialect.open)
        supplies = {
            scenario: dialect.supply(batch, left_out, loads=task.loads)
            for scenario, batch in task.scenes.items()
        }
        inert.arm()
        for supply in supplies.values():
            supply.load()
        result = _with_what_it_reads(task, supplies, findings, tell)
    finally:
        findings += left_out + diverted
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and Path(file).resolve().is_relative_to(dialect.root):
                note_input(Path(file))
    if finder.missing:
        findings.append(f"not installed and not needed: {', '.join(sorted(set(finder.missing)))}")
    findings += noted()
    unknown = "a compiled operation that bevdiag does not know; it was not called"
    findings += [f"{name}: {unknown}" for name in finder.compiled]
    unread = dialect.unread(task.overrides)
    result.unread = {entry.key: entry.message for entry in unread}
    for entry in unread:
        if entry.is_section:
            result.leave_open(entry.message)
    result.findings = tuple(dict.fromkeys(findings))
    result.num_points, result.num_voxels = supplies[Scenario.EXPECTED].counts()
    return result


def _enter(dialect: Dialect, folder: Path, diverted: list[str]) -> StubFinder:
    """Put stubs in place; from here on this process works in the scratch folder, and is held to it.

    In the copy of the repository's scripts, where there are any.
    """
    set_root(dialect.root, folder / MIRROR)
    finder = dialect.install()
    scratch, root, tools = Scratch(folder, diverted), dialect.root, dialect.root / "tools"
    sys.path[:0] = [str(root), str(tools)]
    scratch.enter(root, tools if tools.is_dir() else root)
    divert_programs(diverted)
    watch_exits()
    lock(scratch)
    return finder


Supplies = Mapping[Scenario, Supply]


def _with_what_it_reads(
    task: SourceTask, supplies: Supplies, findings: list[str], tell: Tell
) -> TracedStep:
    """Trace again, with each entry that the model misses in its batch."""
    while True:
        try:
            return _scenarios(task, supplies, findings, tell)
        except NotInBatchError as missing:
            added = [supply.add(missing.key) for supply in supplies.values()]
            if all(added):
                continue
            failure = supplies[Scenario.EXPECTED].failure
            raise NotInBatchError(missing.key, f"{missing}; {failure}") from missing


def _scenarios(task: SourceTask, supplies: Supplies, findings: list[str], tell: Tell) -> TracedStep:
    rehearsals: dict[Scenario, Rehearsal] = {}
    try:
        # Which boxes an evaluated model keeps, initial weights cannot say.
        if task.rehearses and can_rehearse() and not task.options.loop.evaluates:
            for scenario, supply in supplies.items():
                run, *others = (
                    partial(_rehearse, task.dialect, supply, seed) for seed in (SEED, *OTHER_SEEDS)
                )
                rehearsals[scenario] = Rehearsal(run, others)
        return Scenarios(
            partial(_traced, task, supplies),
            task.pins,
            rehearsals,
            supplies,
            lambda error: str(as_failure(error)),
        ).run(findings, tell)
    finally:
        for rehearsal in rehearsals.values():
            rehearsal.close()


@torch.no_grad()
def _rehearse(dialect: Dialect, supply: Supply, seed: int, prompter: Prompter) -> None:
    """Build the model with the weights of a seed, and run its forward and loss."""
    values = RehearsedValues(prompter)
    prepare(seed)
    with cuda_api.initial_weights(), torch.enable_grad():
        model, gpu = build.build_model(lambda: dialect.build(supply), values)
    model.train()
    loaded = supply.batch(with_values=True)
    gpu.boxes = loaded.boxes
    run_for_real(
        model,
        loaded.entries.values(),
        gpu.recorder,
        values,
        lambda: dialect.loss(model, dialect.BATCH(loaded.entries)),
        gpu,
    )


@exits_reported()
def _traced(task: SourceTask, supplies: Supplies, values: AssumedValues) -> Trace:
    supply = supplies.get(values.scenario, supplies[Scenario.EXPECTED])
    announce("while the model was built")
    dialect = task.dialect
    model, gpu = build.build_model(lambda: dialect.build(supply), values)
    recorder, counter = gpu.recorder, FlopCounter(step=1)
    values.effort = lambda: Effort(counter.flops, recorder.host_bytes)

    @contextmanager
    def around(recorder: Recorder) -> Iterator[None]:
        with counter.around(recorder), gpu:
            yield

    def own_optimizer(model: nn.Module) -> torch.optim.Optimizer | None:
        with recorder, gpu:
            own = dialect.optimizer(model)
            if isinstance(own, torch.optim.Optimizer):
                as_on_a_gpu(own)
            return own

    options = dialect.options(task.options)
    hooks = StepHooks(
        forward=dialect.predictions if options.loop.evaluates else dialect.loss,
        batch=dialect.BATCH,
        recorder=recorder,
        optimizer=own_optimizer,
        around=around,
        is_bare=dialect.IS_BARE,
    )
    loaded = supply.batch(labelled=not options.loop.evaluates)
    gpu.boxes = loaded.boxes
    trace = settle(trace_steps(model, loaded.entries, options, hooks))
    code = whose_code(model)
    return replace(trace, flops=counter.flops, notes=(*trace.notes, *([code] if code else [])))
