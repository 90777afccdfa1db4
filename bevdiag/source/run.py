"""Runs the child process that traces a repository, and outlives whatever happens to it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bevdiag.children import EXHAUSTED, ChildError, in_child
from bevdiag.errors import InputError
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.loop import PLAIN, Loop
from bevdiag.scenes import Batch
from bevdiag.source.child import DescribeTask, SourceTask, describe_child, run_child
from bevdiag.source.dialects import dialect_of
from bevdiag.source.dialects.protocol import Dialect
from bevdiag.source.saved_batch import SavedBatch
from bevdiag.source.settings import SourceSettings, read_source_config
from bevdiag.trace.alternatives import TracedStep
from bevdiag.trace.scenarios import Scenario
from bevdiag.trace.step import StepOptions

_SMALLER = (
    "give it fewer samples (--batch-size 1; with --entry, those that the function makes), or try "
    "again where more memory is free"
)
"""What helps a step whose tensors with values the host cannot hold."""


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
        said: dict[str, Any] = in_child(
            describe_child,
            DescribeTask(dialect=dialect, scratch=Path(scratch)),
            name="the process that read the config",
            capped=True,
            captured=True,
        )
    return dialect.settings(said, split)


def trace_source(
    config_path: Path,
    source_dir: Path,
    *,
    scenes: Mapping[Scenario, Batch | SavedBatch],
    autocast: str = "off",
    optimizer: str = "adamw",
    overrides: Sequence[str] = (),
    assumptions: Mapping[str, int] | None = None,
    target: DeviceTarget | None = None,
    timeout_seconds: float | None = None,
    rehearses: bool = True,
    loads: bool = True,
    loop: Loop = PLAIN,
    replaced: Mapping[str, str] | None = None,
    settings: SourceSettings | None = None,
) -> TracedStep:
    """Trace a training step of the repository's own model, in a child process.

    This imports and runs the code in `source_dir`.

    Args:
        config_path: a YAML config of the repository.
        source_dir: the folder that holds the package `pcdet`.
        scenes: the expected one and those of other scenarios, where they differ from it, voxelized
            as `read_source_config` says; or a saved batch.
        autocast: off, fp16 or bf16.
        optimizer: adam, adamw, sgd, adam_onecycle or adam_cosineanneal.
        overrides: `KEY=value` texts for the config.
        assumptions: counts by site, as an earlier trace named the sites.
        target: the device whose torch picks the kernels; None takes the measured GPU's.
        timeout_seconds: of silence, after which the child is stopped.
        rehearses: whether the forward pass is run on the CPU for values that decide.
        loads: whether the repository's own data pipeline makes the batch of the scene; where not,
            the scene's points, voxels and boxes are the batch.
        loop: what the training script does around the step.
        replaced: what stands for a package's operators, see `bevdiag.models.scatter`.
        settings: what `read_settings` says of the config with these overrides; None reads it here.

    Raises:
        ConfigError: the config cannot be read.
        InputError: there is no such package in `source_dir`.
        NoVerdictError: the code fails, asks for something that is not modelled, dies or hangs.
    """
    if not source_dir.is_dir():
        raise InputError(f"--source {source_dir}: there is no such folder")
    settings = settings or read_settings(config_path, source_dir, overrides, loop.split)
    return trace_step(
        dialect_of(source_dir.resolve(), settings, overrides),
        StepOptions(
            optimization=settings.optimization,
            optimizer=optimizer,
            autocast=autocast,
            target=target,
            loop=loop,
            replaced=replaced or {},
        ),
        timeout_seconds,
        scenes=scenes,
        overrides=tuple(overrides),
        pins=dict(assumptions or {}),
        rehearses=rehearses,
        loads=loads,
    )


def trace_step(
    dialect: Dialect, options: StepOptions, timeout_seconds: float | None = None, **task: Any
) -> TracedStep:
    """Trace the training step of a dialect, in a child process.

    This imports and runs the code that the dialect stands for, and what it imports.

    Args:
        dialect: how the code is run.
        options: how the step is run.
        timeout_seconds: of silence, after which the child is stopped.
        task: what else `SourceTask` takes: `scenes` and `pins` at least.

    Raises:
        InputError: the code gives no step that can be traced.
        NoVerdictError: the code fails, asks for something that is not modelled, dies or hangs.
    """
    with tempfile.TemporaryDirectory(prefix="bevdiag-") as scratch:
        result = _run(
            SourceTask(dialect=dialect, options=options, scratch=Path(scratch), **task),
            timeout_seconds,
        )
    result.findings = (*result.findings, *result.expected.notes)
    return result


def _run(task: SourceTask, timeout_seconds: float | None) -> TracedStep:
    """Return what the child found, or had reported before it died, where that includes a trace."""
    reported: list[TracedStep] = []
    try:
        return in_child(
            run_child,
            task,
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
        failure = f"with other counts than the expected ones, {death}"
        result = reported[-1]
        result.findings = (*result.findings, failure)
        result.leave_open(failure)
        return result
