"""`bevdiag compare --source`: variants of a config, each built and run by the repository's code."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from bevdiag.errors import BevdiagError, InputError
from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.compare_rows import Asked, failed_row, traced_row
from bevdiag.prediction.compressions import MODES
from bevdiag.prediction.figures import batch_scene, target_of
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import source_batch
from bevdiag.prediction.target import device_target
from bevdiag.prediction.variants import CompareReport
from bevdiag.prediction.variants import Variant as Row
from bevdiag.scenes import Batch
from bevdiag.source import read_source_config, trace_source
from bevdiag.source.values import Scenario

Progress = Callable[[str, float], None]
AS_IT_IS = "as configured"
"""The row of the config's own module."""
_PACKAGE = Path("pcdet/models/backbones_2d/map_to_bev/__init__.py")


def compare_source(
    config: Path,
    options: InspectOptions,
    modules: Sequence[str],
    batch_sizes: Sequence[int],
    autocasts: Sequence[str],
    progress: Progress,
) -> CompareReport:
    """Trace every combination; the first row, the config as it is, is the base line.

    This runs the repository's code. `modules` are names of its own ways to the BEV map; those of
    bevdiag's modes get a row that says what the repository has instead.

    Raises:
        BevdiagError: a config, point file or option that cannot be used.
    """
    assert options.source is not None
    torch.set_num_threads(1)
    source, target = Path(options.source), device_target(options, torch.__version__)
    settings = read_source_config(config, options.overrides)
    own_autocast = "fp16" if settings.optimization.use_amp else "off"
    own_size = options.batch_size or settings.optimization.batch_size_per_gpu
    axes = [
        Asked(module, size, autocast)
        for autocast, size, module in product(
            autocasts or [own_autocast],
            batch_sizes or [own_size],
            dict.fromkeys((AS_IT_IS, *modules)),
        )
    ]
    batches = {
        size: source_batch(settings, replace(options, batch_size=size))
        for size in {asked.batch_size for asked in axes}
    }
    rows: list[Row] = []
    for number, asked in enumerate(axes):
        progress(f"{asked.compression}, batch {asked.batch_size}", number / len(axes))
        base = rows[0].peak_allocated_bytes if rows else None
        batch = batches[asked.batch_size]
        rows.append(_row(config, source, options, target, asked, batch, base))
    return CompareReport(
        config=str(config),
        target=target_of(target),
        scene=batch_scene(batches[axes[0].batch_size]),
        variants=tuple(rows),
    )


def _row(
    config: Path,
    source: Path,
    options: InspectOptions,
    target: DeviceTarget,
    asked: Asked,
    batch: Batch,
    base: int | None,
) -> Row:
    try:
        overrides = (*options.overrides, *_edits(asked.compression, source))
        settings = read_source_config(config, overrides)
        traced = trace_source(
            config,
            source,
            batch=batch,
            autocast=asked.autocast,
            optimizer=options.optimizer or settings.optimization.optimizer,
            overrides=overrides,
            assumptions=options.pins,
            timeout_seconds=options.timeout_seconds,
        )
    except BevdiagError as error:
        return failed_row(asked, str(error))
    upper = traced.scenarios.get(Scenario.HIGH, traced.trace)
    return traced_row(asked, target, traced.trace, upper, base)


def _edits(module: str, source: Path) -> tuple[str, ...]:
    """The overrides that take the config to this way to the BEV map.

    Raises:
        InputError: the repository has no such module.
    """
    if module == AS_IT_IS:
        return ()
    known = map_to_bev_modules(source)
    if module in known:
        return (f"MODEL.MAP_TO_BEV.NAME={module}",)
    has = f"this repository has {', '.join(known)}" if known else "this repository names none"
    whose = "is a mode of bevdiag's own module" if module in MODES else "is no module here"
    raise InputError(f"--compression {module} {whose}; {has}")


def map_to_bev_modules(source: Path) -> tuple[str, ...]:
    """The names under which the repository registers its ways to the BEV map; nothing is run."""
    file = source / _PACKAGE
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ()
    registered = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    return tuple(
        key.value
        for value in registered
        if isinstance(value, ast.Dict)
        for key in value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    )
