"""`bevdiag compare --source`: variants of a config, each built and run by the repository's code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from bevdiag.errors import BevdiagError
from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.compare_rows import Asked, failed_row, traced_row
from bevdiag.prediction.figures import batch_scene, target_of
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.repository import AS_IT_IS, module_edits, source_scenes
from bevdiag.prediction.target import device_target
from bevdiag.prediction.variants import CompareReport
from bevdiag.prediction.variants import Variant as Row
from bevdiag.scenes import Batch
from bevdiag.source import read_source_config, trace_source
from bevdiag.trace.scenarios import Scenario

Progress = Callable[[str, float], None]


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
    settings = read_source_config(config, options.overrides, options.loop.split)
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
    scenes = {
        size: source_scenes(settings, replace(options, batch_size=size))
        for size in {asked.batch_size for asked in axes}
    }
    rows: list[Row] = []
    for number, asked in enumerate(axes):
        progress(f"{asked.compression}, batch {asked.batch_size}", number / len(axes))
        base = rows[0].peak_allocated_bytes if rows else None
        own = scenes[asked.batch_size]
        rows.append(_row(config, source, options, target, asked, own, base))
    return CompareReport(
        config=str(config),
        target=target_of(target),
        scene=batch_scene(scenes[axes[0].batch_size][Scenario.EXPECTED]),
        variants=tuple(rows),
    )


def _row(
    config: Path,
    source: Path,
    options: InspectOptions,
    target: DeviceTarget,
    asked: Asked,
    scenes: Mapping[Scenario, Batch],
    base: int | None,
) -> Row:
    try:
        overrides = (*options.overrides, *module_edits(asked.compression, source))
        settings = read_source_config(config, overrides)
        traced = trace_source(
            config,
            source,
            scenes=scenes,
            autocast=asked.autocast,
            optimizer=options.optimizer or settings.optimization.optimizer,
            overrides=overrides,
            assumptions=options.pins,
            target=target,
            timeout_seconds=options.timeout_seconds,
            rehearses=options.rehearses,
            loop=options.loop,
        )
    except BevdiagError as error:
        return failed_row(asked, str(error))
    upper = traced.scenarios.get(Scenario.HIGH, traced.trace)
    return traced_row(asked, target, traced.trace, upper, base)
