"""The child process: imports the repository, builds its model and traces its step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bevdiag.children import Tell, announce, exhausts_host
from bevdiag.errors import BevdiagError
from bevdiag.scenes import Batch
from bevdiag.source import build, cuda_api, downloads
from bevdiag.source.dataset import LoadedBatch, source_batch
from bevdiag.source.failures import as_failure, exits_reported, watch_exits
from bevdiag.source.locks import lock
from bevdiag.source.places import set_root
from bevdiag.source.programs import divert_programs
from bevdiag.source.real_run import loss_of, predictions_of, rehearse
from bevdiag.source.scenarios import ChildResult, Scenarios
from bevdiag.source.scratch import MIRROR, Scratch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.standins import inert
from bevdiag.source.standins.imports import StandInFinder, install
from bevdiag.source.state import current
from bevdiag.source.values import AssumedValues
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.flops import FlopCounter
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.rehearsal import Rehearsal, can_rehearse
from bevdiag.trace.settling import settle
from bevdiag.trace.step import Customs, StepOptions, Trace, trace_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTask:
    """What the child is to do; `scratch` is an empty folder for what the code writes."""

    source: Path
    scratch: Path
    settings: SourceSettings
    batch: Batch
    options: StepOptions
    pins: Mapping[str, int]
    rehearses: bool = True


def run_child(task: SourceTask, tell: Tell) -> ChildResult:
    """Trace, telling the `ChildResult` so far before each scenario that follows the expected one.

    Raises:
        BevdiagError: the code fails, or asks for something that is not modelled.
    """
    findings: list[str] = []
    try:
        with without_compiler(), exits_reported():
            return _trace(task, findings, tell)
    except BevdiagError:
        raise
    except Exception as error:
        if exhausts_host(error):
            raise
        raise as_failure(error, findings) from error


def _trace(task: SourceTask, findings: list[str], tell: Tell) -> ChildResult:
    torch.set_num_threads(1)
    root = task.source.resolve()
    set_root(root, task.scratch / MIRROR)
    package = build.find_package(root)
    cuda_api.pretend()
    downloads.refuse(findings)
    finder = install(root)
    diverted: list[str] = []
    scratch = Scratch(task.scratch, diverted)
    build.enter_repository(root, scratch)
    divert_programs(diverted)
    watch_exits()
    lock(scratch)
    build_network = build.import_builder(package)
    inert.arm()
    rehearsal = None
    # Which boxes an evaluated model keeps, initial weights cannot say.
    if task.rehearses and can_rehearse() and not task.options.loop.evaluates:
        rehearsal = Rehearsal(partial(rehearse, task.batch, task.settings, build_network))
    try:
        result = Scenarios(partial(_trace_scenario, task, build_network), task.pins, rehearsal).run(
            findings, tell
        )
    finally:
        if rehearsal is not None:
            rehearsal.close()
    findings += diverted
    _report_imports(finder, findings)
    result.findings = tuple(dict.fromkeys(findings))
    return result


def _report_imports(finder: StandInFinder, findings: list[str]) -> None:
    if finder.missing:
        findings.append(f"not installed and not needed: {', '.join(sorted(set(finder.missing)))}")
    for name in finder.compiled:
        findings.append(
            f"{name}: a compiled operation that bevdiag does not know; it was not called"
        )


def _trace_scenario(task: SourceTask, build_network: Any, values: AssumedValues) -> Trace:
    with exits_reported():
        return _traced(task, build_network, values)


def _traced(task: SourceTask, build_network: Any, values: AssumedValues) -> Trace:
    announce("while the model was built")
    built = build.build_model(build_network, task.settings, values)

    counter = FlopCounter(step=1)
    values.flops = lambda: counter.flops

    @contextmanager
    def around(recorder: Recorder) -> Iterator[None]:
        with counter.around(recorder), built.lanes:
            yield

    evaluates = task.options.loop.evaluates
    customs = Customs(
        forward=predictions_of if evaluates else loss_of,
        batch=LoadedBatch,
        recorder=built.recorder,
        around=around,
    )
    batch = source_batch(task.batch, task.settings)
    current().boxes = batch["gt_boxes"]
    if evaluates:
        del batch["gt_boxes"]
    return settle(trace_steps(built.model, batch, task.options, customs))
