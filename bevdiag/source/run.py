"""Runs the child process that traces a repository, and outlives whatever happens to it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bevdiag.children import EXHAUSTED, ChildError, in_child
from bevdiag.errors import InputError
from bevdiag.source.child import SourceTask, read_child, run_child
from bevdiag.source.dialects import dialect_of
from bevdiag.source.dialects.protocol import Dialect
from bevdiag.source.settings import SourceSettings, read_source_config
from bevdiag.trace.alternatives import TracedStep
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
        return in_child(
            read_child,
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
                run_child,
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
