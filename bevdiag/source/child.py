"""The child process: imports the repository, builds its model and traces its step."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bevdiag.children import Tell, announce, exhausts_host
from bevdiag.errors import BevdiagError
from bevdiag.scenes import Batch
from bevdiag.source import build, cuda_api, downloads
from bevdiag.source.dataset import LoadedBatch, source_batch
from bevdiag.source.failures import as_failure, exits_reported, watch_exits
from bevdiag.source.locks import lock
from bevdiag.source.places import set_root
from bevdiag.source.programs import divert_programs
from bevdiag.source.scratch import MIRROR, Scratch
from bevdiag.source.settings import SourceSettings
from bevdiag.source.standins import inert
from bevdiag.source.standins.imports import StandInFinder, install
from bevdiag.source.state import current
from bevdiag.source.values import AssumedValues, Scenario, SourceAssumption
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.settling import settle
from bevdiag.trace.step import Customs, StepOptions, Trace, trace_steps
from bevdiag.trace.wiring_batch import WatchedBatch

_MISMATCH = re.compile(
    r"shapes cannot be multiplied|same reduction dim|expected input\b.* to have \d+ channels|"
    r"must match the size of tensor|size mismatch|normalized_shape|running_mean should contain|"
    r"but got input .*channels"
)
"""What layers say of an input that does not suit them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTask:
    """What the child is to do; `scratch` is an empty folder for what the code writes."""

    source: Path
    scratch: Path
    settings: SourceSettings
    batch: Batch
    options: StepOptions
    pins: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class ChildResult:
    """What the child found: traces by scenario, and what there is to say of them."""

    traces: dict[Scenario, Trace] = field(default_factory=dict)
    assumptions: tuple[SourceAssumption, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def has_range(self) -> bool:
        """Whether a count may be another."""
        return any(assumption.low != assumption.high for assumption in self.assumptions)

    def leave_open(self, failure: str) -> None:
        """Without an upper end no one can say that the step fits."""
        trace = self.traces[Scenario.EXPECTED]
        stream = replace(trace.stream, unmodelled=(*trace.stream.unmodelled, failure))
        self.traces[Scenario.EXPECTED] = replace(trace, stream=stream)


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
    result = ChildResult()
    values = AssumedValues(Scenario.EXPECTED, task.pins)
    result.traces[Scenario.EXPECTED] = _trace_scenario(task, build_network, values)
    result.assumptions = tuple(values.assumptions.values())
    if result.has_range:
        for scenario in (Scenario.LOW, Scenario.HIGH):
            result.findings = tuple(dict.fromkeys(findings))
            tell(result)
            values = AssumedValues(scenario, task.pins)
            try:
                trace = _trace_scenario(task, build_network, values)
            except Exception as error:
                if exhausts_host(error):
                    raise
                why = error if isinstance(error, BevdiagError) else as_failure(error)
                failure = f"with the {scenario.value} counts the step fails: {why}"
                findings.append(failure)
                if scenario is Scenario.HIGH:
                    result.leave_open(failure)
            else:
                result.traces[scenario] = trace
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

    @contextmanager
    def around(_: Recorder) -> Iterator[None]:
        with built.lanes:
            yield

    customs = Customs(forward=_loss, batch=LoadedBatch, recorder=built.recorder, around=around)
    batch = source_batch(task.batch, task.settings)
    current().boxes = batch["gt_boxes"]
    return settle(trace_steps(built.model, batch, task.options, customs))


def _loss(model: nn.Module, batch: WatchedBatch) -> torch.Tensor:
    """The loss that OpenPCDet's `model_fn_decorator` hands to the training loop."""
    try:
        returned, _, _ = model(batch)
    except RuntimeError as error:
        # A layer that is fed other channels than it was built for: say who feeds it.
        mismatch = _MISMATCH.search(str(error)) and batch.watch is not None
        fed = batch.watch.last_features() if mismatch and batch.watch is not None else ""
        error.args = (f"{error}; {fed}" if fed else str(error),)
        raise
    loss: torch.Tensor = returned["loss"].mean()
    return loss
