"""`bevdiag compare`: variants of one config beside each other."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from bevdiag.errors import BevdiagError
from bevdiag.memory.device import DeviceTarget
from bevdiag.models.bev import bev_joint
from bevdiag.prediction.built_in import Session, Variant
from bevdiag.prediction.compare_rows import Asked, failed_row, traced_row
from bevdiag.prediction.compare_source import compare_source
from bevdiag.prediction.compressions import compression_changes
from bevdiag.prediction.figures import target_of
from bevdiag.prediction.inspect import assumptions_of, scene_of
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Assumption, Scene
from bevdiag.prediction.variants import CompareReport
from bevdiag.prediction.variants import Variant as Row
from bevdiag.trace.kept_voxels import Scenario

Progress = Callable[[str, float], None]
BASE = "none"


def compare(
    config: Path,
    options: InspectOptions,
    compressions: Sequence[str],
    batch_sizes: Sequence[int],
    autocasts: Sequence[str],
    progress: Progress,
) -> CompareReport:
    """Trace every combination; the first row, without compression, is the base line.

    Empty batch sizes or autocasts mean the config's own. With `options.source` the rows are traced
    with that repository's code, and compressions are names of its own modules.

    Raises:
        BevdiagError: a config, point file or option that cannot be used.
    """
    if options.source is not None:
        return compare_source(config, options, compressions, batch_sizes, autocasts, progress)
    session = Session(options)
    target = session.target()
    variant = session.traceable(config)
    modes = list(dict.fromkeys((BASE, *compressions)))
    axes = list(
        product(autocasts or [variant.autocast], batch_sizes or [variant.batch_size], modes)
    )
    rows: list[Row] = []
    for number, (autocast, batch_size, mode) in enumerate(axes):
        progress(f"{mode}, batch {batch_size}, autocast {autocast}", number / len(axes))
        changed = replace(variant, batch_size=batch_size, autocast=autocast)
        base = rows[0].peak_allocated_bytes if rows else None
        rows.append(_row(session, target, changed, mode, base))
    scene, assumptions = _shared(session, variant)
    return CompareReport(
        config=str(config),
        target=target_of(target),
        scene=scene,
        variants=tuple(rows),
        assumptions=assumptions,
    )


def _shared(session: Session, variant: Variant) -> tuple[Scene, tuple[Assumption, ...]]:
    """The scene and counts of the config's own batch size."""
    traced = session.settled(variant)
    return scene_of(traced), assumptions_of(traced.kept_voxels)


def _row(
    session: Session, target: DeviceTarget, variant: Variant, mode: str, base: int | None
) -> Row:
    asked = Asked(mode, variant.batch_size, variant.autocast)
    try:
        variant = variant.edited(compression_changes(variant.config, mode))
        traced = session.trace(variant, (Scenario.EXPECTED, Scenario.HIGH))
    except BevdiagError as error:
        return failed_row(asked, str(error))
    trace = traced.traces[Scenario.EXPECTED]
    upper = traced.traces.get(Scenario.HIGH, trace)
    row = traced_row(asked, target, trace, upper, base)
    return replace(row, bev_channels=bev_joint(variant.config).real)
