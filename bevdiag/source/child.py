"""The child process: imports the repository, builds its model and traces its step."""

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.errors import BevdiagError, NoVerdictError
from bevdiag.scenes import Batch
from bevdiag.source import build, cuda_api, downloads
from bevdiag.source.dataset import LoadedBatch, source_batch
from bevdiag.source.places import failing_place, set_root
from bevdiag.source.settings import SourceSettings
from bevdiag.source.standins import inert
from bevdiag.source.standins.imports import StandInFinder, install
from bevdiag.source.state import current
from bevdiag.source.values import AssumedValues, Scenario, SourceAssumption
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.step import Customs, StepOptions, Trace, trace_steps
from bevdiag.trace.wiring_batch import WatchedBatch

_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTask:
    """What the child is to do."""

    source: Path
    settings: SourceSettings
    batch: Batch
    options: StepOptions
    pins: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class ChildResult:
    """What the child found: traces by scenario, or a failure in one sentence."""

    traces: dict[Scenario, Trace] = field(default_factory=dict)
    assumptions: tuple[SourceAssumption, ...] = ()
    findings: tuple[str, ...] = ()
    failure: BevdiagError | None = None
    details: str = ""


def run_child(task: SourceTask, pipe: Connection, place: Any, log: str) -> None:
    """Trace, and send one `ChildResult`; what the repository prints goes to the file `log`."""
    _redirect_output(log)
    findings: list[str] = []
    try:
        with without_compiler():
            result = _trace(task, findings, place)
    except BevdiagError as error:
        result = ChildResult(failure=error, details=traceback.format_exc())
    except Exception as error:
        failure = _as_failure(error, findings)
        result = ChildResult(failure=failure, details=traceback.format_exc())
    result.findings = tuple(dict.fromkeys(findings))
    pipe.send(result)
    pipe.close()


def _redirect_output(log: str) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _as_failure(error: Exception, findings: Sequence[str] = ()) -> NoVerdictError:
    """The error of the repository's code in one sentence, with the place that raised it."""
    message = " ".join(str(error).split())[:_LONGEST_MESSAGE]
    place = failing_place(error.__traceback__)
    before = f"; before that, {findings[0]}" if findings else ""
    return NoVerdictError(f"{place}: {type(error).__name__}: {message}{before}")


def _trace(task: SourceTask, findings: list[str], place: Any) -> ChildResult:
    torch.set_num_threads(1)
    root = task.source.resolve()
    set_root(root)
    package = build.find_package(root)
    cuda_api.pretend()
    downloads.refuse(findings)
    finder = install(root)
    build.enter_repository(root)
    build_network = build.import_builder(package)
    inert.arm()
    result = ChildResult()
    values = AssumedValues(Scenario.EXPECTED, task.pins)
    result.traces[Scenario.EXPECTED] = _trace_scenario(task, build_network, values, place)
    result.assumptions = tuple(values.assumptions.values())
    if any(assumption.low != assumption.high for assumption in result.assumptions):
        for scenario in (Scenario.LOW, Scenario.HIGH):
            values = AssumedValues(scenario, task.pins)
            try:
                trace = _trace_scenario(task, build_network, values, place)
            except Exception as error:
                why = error if isinstance(error, BevdiagError) else _as_failure(error)
                failure = f"with the {scenario.value} counts the step fails: {why}"
                findings.append(failure)
                if scenario is Scenario.HIGH:
                    _leave_open(result, failure)
            else:
                result.traces[scenario] = trace
    _report_imports(finder, findings)
    return result


def _report_imports(finder: StandInFinder, findings: list[str]) -> None:
    if finder.missing:
        findings.append(f"not installed and not needed: {', '.join(sorted(set(finder.missing)))}")
    for name in finder.compiled:
        findings.append(
            f"{name}: a compiled operation that bevdiag does not know; it was not called"
        )


def _leave_open(result: ChildResult, failure: str) -> None:
    """Without an upper end no one can say that the step fits."""
    trace = result.traces[Scenario.EXPECTED]
    stream = replace(trace.stream, unmodelled=(*trace.stream.unmodelled, failure))
    result.traces[Scenario.EXPECTED] = replace(trace, stream=stream)


def _trace_scenario(
    task: SourceTask, build_network: Any, values: AssumedValues, place: Any
) -> Trace:
    built = build.build_model(build_network, task.settings, values)
    with _announced(built.model, place):
        return _trace_steps(task, built)


def _trace_steps(task: SourceTask, built: build.Built) -> Trace:
    @contextmanager
    def around(_: Recorder) -> Iterator[None]:
        with built.lanes:
            yield

    customs = Customs(forward=_loss, batch=LoadedBatch, recorder=built.recorder, around=around)
    batch = source_batch(task.batch, task.settings)
    current().boxes = batch["gt_boxes"]
    return trace_steps(built.model, batch, task.options, customs)


def _loss(model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
    """The loss that OpenPCDet's `model_fn_decorator` hands to the training loop."""
    try:
        returned, _, _ = model(batch)
    except RuntimeError as error:
        # Mostly a layer that is fed other channels than it was built for: say who feeds it.
        fed = batch.watch.last_features() if batch.watch is not None else ""
        error.args = (f"{error}; {fed}" if fed else str(error),)
        raise
    loss: torch.Tensor = returned["loss"].mean()
    return loss


def _announced(model: nn.Module, place: Any) -> AbstractContextManager[None]:
    """Keeps the name of the module that is running where the parent can read it."""
    names = {id(module): name.encode() for name, module in model.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        name = names.get(id(module))
        if name:
            place.value = name[: len(place) - 1]

    @contextmanager
    def announce() -> Iterator[None]:
        handle = nn.modules.module.register_module_forward_pre_hook(enter)
        try:
            yield
        finally:
            handle.remove()

    return announce()
