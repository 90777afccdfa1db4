"""Runs the child process that traces a repository, and outlives whatever happens to it."""

import multiprocessing
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bevdiag.errors import InputError, NoVerdictError
from bevdiag.scenes import Batch
from bevdiag.source.child import ChildResult, SourceTask, run_child
from bevdiag.source.settings import read_source_config
from bevdiag.source.values import Scenario, SourceAssumption
from bevdiag.trace.step import StepOptions, Trace

TIMEOUT_SECONDS = 900.0
_PLACE_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTrace:
    """A repository's training step, recorded.

    Attributes:
        trace: with the expected counts.
        scenarios: the same step with the lowest and the highest counts; only the expected one
            where nothing depends on values.
        assumptions: every count that depends on values.
        findings: what was replaced, refused or answered on the way.
        unmodelled: operations whose memory is not known.
        params_by_module: the detector's direct children, and "total".
    """

    trace: Trace
    scenarios: Mapping[Scenario, Trace]
    assumptions: tuple[SourceAssumption, ...]
    findings: tuple[str, ...]
    unmodelled: tuple[str, ...]
    params_by_module: Mapping[str, int]


def trace_source(
    config_path: Path,
    source_dir: Path,
    *,
    batch: Batch,
    autocast: str = "off",
    optimizer: str = "adamw",
    overrides: Sequence[str] = (),
    assumptions: Mapping[str, int] | None = None,
    num_steps: int = 2,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> SourceTrace:
    """Trace a training step of the repository's own model, in a child process.

    This imports and runs the code in `source_dir`.

    Args:
        config_path: a YAML config of the repository.
        source_dir: the folder that holds the package `pcdet`.
        batch: the scene, voxelized as `read_source_config` says.
        autocast: off, fp16 or bf16.
        optimizer: adam, adamw, sgd, adam_onecycle or adam_cosineanneal.
        overrides: `KEY=value` texts for the config.
        assumptions: counts by site, as an earlier trace named the sites.
        num_steps: training steps to record.
        timeout_seconds: after which the child is stopped.

    Raises:
        ConfigError: the config cannot be read.
        InputError: there is no such package in `source_dir`.
        NoVerdictError: the code fails, asks for something that is not modelled, dies or hangs.
    """
    if not source_dir.is_dir():
        raise InputError(f"--source {source_dir}: there is no such folder")
    settings = read_source_config(config_path, overrides)
    task = SourceTask(
        source=source_dir,
        settings=settings,
        batch=batch,
        options=StepOptions(
            optimization=settings.optimization,
            optimizer=optimizer,
            autocast=autocast,
            num_steps=num_steps,
        ),
        pins=dict(assumptions or {}),
    )
    return _finished(_run(task, timeout_seconds))


def _finished(result: ChildResult) -> SourceTrace:
    if result.failure is not None:
        raise result.failure from RuntimeError(result.details)
    trace = result.traces[Scenario.EXPECTED]
    return SourceTrace(
        trace=trace,
        scenarios=result.traces,
        assumptions=result.assumptions,
        findings=(*result.findings, *trace.notes),
        unmodelled=tuple(trace.stream.unmodelled),
        params_by_module=trace.params_by_module,
    )


def _run(task: SourceTask, timeout_seconds: float) -> ChildResult:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    place = context.Array("c", _PLACE_BYTES, lock=False)
    with tempfile.NamedTemporaryFile("r", suffix=".log", errors="replace") as log:
        child = context.Process(target=run_child, args=(task, sender, place, log.name), daemon=True)
        child.start()
        sender.close()
        try:
            if not receiver.poll(timeout_seconds):
                raise NoVerdictError(
                    f"the repository's step did not end within {timeout_seconds:g} s; "
                    f"{_whereabouts(place.value)}"
                )
            result = receiver.recv()
            assert isinstance(result, ChildResult)
            return result
        except EOFError:
            child.join()
            raise NoVerdictError(
                f"the process that ran the repository {_reason(child.exitcode)}; "
                f"{_whereabouts(place.value)}{_last_line(log.read())}"
            ) from None
        finally:
            child.kill()
            child.join()


def _whereabouts(place: bytes) -> str:
    if not place:
        return "no module had run yet"
    return f"the last module that ran was {place.decode(errors='replace')}"


def _reason(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"died of signal {-exit_code}"
    return f"ended with exit code {exit_code}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return f"; the last it said was: {lines[-1][:300]}" if lines else ""
