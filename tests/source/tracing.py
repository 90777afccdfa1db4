"""The step of a repository and a config, as the tests of these packages trace it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bevdiag.memory.loop import PLAIN, Loop
from bevdiag.scenes import Batch, Scenario
from bevdiag.source import SavedBatch, read_settings, trace_step
from bevdiag.source.dialects import dialect_of
from bevdiag.trace.alternatives import TracedStep
from bevdiag.trace.step import StepOptions


def trace_source(
    config: Path,
    source: Path,
    *,
    scenes: Mapping[Scenario, Batch | SavedBatch],
    overrides: Sequence[str] = (),
    optimizer: str = "adamw",
    loop: Loop = PLAIN,
    assumptions: Mapping[str, int] | None = None,
    timeout_seconds: float | None = None,
    rehearses: bool = True,
    loads: bool = True,
    **options: Any,
) -> TracedStep:
    """Read the config and trace its step; `options` are those of the step that are left."""
    settings = read_settings(config, source, overrides, loop.split)
    return trace_step(
        dialect_of(source.resolve(), settings, overrides),
        StepOptions(optimization=settings.optimization, optimizer=optimizer, loop=loop, **options),
        timeout_seconds,
        scenes=scenes,
        overrides=tuple(overrides),
        pins=dict(assumptions or {}),
        rehearses=rehearses,
        loads=loads,
    )
