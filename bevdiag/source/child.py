"""The child process: imports the repository, builds its model and traces its step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bevdiag.children import Tell, announce, exhausts_host
from bevdiag.config.repository import package_of
from bevdiag.errors import BevdiagError
from bevdiag.scenes import Batch
from bevdiag.source import build, cuda_api, downloads
from bevdiag.source.dataset import LoadedBatch, NotInBatchError
from bevdiag.source.failures import as_failure, exits_reported, watch_exits
from bevdiag.source.locks import lock
from bevdiag.source.places import set_root
from bevdiag.source.programs import divert_programs
from bevdiag.source.real_run import loss_of, rehearse
from bevdiag.source.scenarios import ChildResult, Scenarios
from bevdiag.source.scratch import MIRROR, Scratch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.standins import inert
from bevdiag.source.standins.imports import StandInFinder, install
from bevdiag.source.state import current, noted
from bevdiag.source.supply import Supply
from bevdiag.source.values import AssumedValues
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.flops import FlopCounter
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.rehearsal import Rehearsal, can_rehearse
from bevdiag.trace.settling import settle
from bevdiag.trace.step import Customs, StepOptions, Trace, trace_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTask:
    """What the child is to do.

    Attributes:
        scratch: an empty folder for what the code writes.
        loads: whether the repository's own data pipeline makes the batch of the scene.
    """

    source: Path
    scratch: Path
    settings: SourceSettings
    batch: Batch
    options: StepOptions
    pins: Mapping[str, int]
    rehearses: bool = True
    loads: bool = True


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
    package = package_of(root)
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
    left_out: list[str] = []
    supply = Supply(package, task.batch, task.settings, left_out, loads=task.loads)
    inert.arm()
    supply.load()
    while True:
        try:
            result = _scenarios(task, build_network, supply, findings, tell)
            break
        except NotInBatchError as missing:
            if supply.add(missing.key):
                continue
            if supply.failure:
                raise NotInBatchError(missing.key, f"{missing}; {supply.failure}") from missing
            raise
    findings += left_out + diverted
    _report_imports(finder, findings)
    result.findings = tuple(dict.fromkeys(findings))
    result.num_points, result.num_voxels = supply.counts()
    return result


def _scenarios(
    task: SourceTask, build_network: Any, supply: Supply, findings: list[str], tell: Tell
) -> ChildResult:
    rehearsal = None
    if task.rehearses and can_rehearse():
        rehearsal = Rehearsal(partial(rehearse, supply, task.settings, build_network))
    trace = partial(_trace_scenario, task, build_network, supply)
    try:
        return Scenarios(trace, task.pins, rehearsal).run(findings, tell)
    finally:
        if rehearsal is not None:
            rehearsal.close()


def _report_imports(finder: StandInFinder, findings: list[str]) -> None:
    if finder.missing:
        findings.append(f"not installed and not needed: {', '.join(sorted(set(finder.missing)))}")
    findings += noted()
    for name in finder.compiled:
        findings.append(
            f"{name}: a compiled operation that bevdiag does not know; it was not called"
        )


def _trace_scenario(
    task: SourceTask, build_network: Any, supply: Supply, values: AssumedValues
) -> Trace:
    with exits_reported():
        return _traced(task, build_network, supply, values)


def _traced(task: SourceTask, build_network: Any, supply: Supply, values: AssumedValues) -> Trace:
    announce("while the model was built")
    built = build.build_model(build_network, task.settings, supply.dataset, values)

    counter = FlopCounter(step=1)
    values.flops = lambda: counter.flops

    @contextmanager
    def around(recorder: Recorder) -> Iterator[None]:
        with counter.around(recorder), built.lanes:
            yield

    customs = Customs(forward=loss_of, batch=LoadedBatch, recorder=built.recorder, around=around)
    batch = supply.batch()
    current().boxes = batch["gt_boxes"]
    return settle(trace_steps(built.model, batch, task.options, customs))
