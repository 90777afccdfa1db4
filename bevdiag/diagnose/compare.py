"""`bevdiag compare`: variants of one config beside each other."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from bevdiag.diagnose.bev import bev_joint
from bevdiag.diagnose.compressions import compression_changes
from bevdiag.diagnose.figures import target_of
from bevdiag.diagnose.inspect import assumptions_of, scene_of
from bevdiag.diagnose.result import (
    Assumption,
    CompareReport,
    InspectOptions,
    Scene,
    Verdict,
)
from bevdiag.diagnose.result import Variant as Row
from bevdiag.diagnose.session import Session, Variant
from bevdiag.diagnose.summary import upper_end_bytes
from bevdiag.diagnose.verdict import fit_on_gpus, judge
from bevdiag.errors import BevdiagError
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
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

    Empty batch sizes or autocasts mean the config's own.

    Raises:
        BevdiagError: a config, point file or option that cannot be used.
    """
    session = Session(options)
    target = session.target()
    variant = session.variant(config)
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
    try:
        variant = variant.edited(compression_changes(variant.config, mode))
        traced = session.trace(variant, (Scenario.EXPECTED, Scenario.HIGH))
    except BevdiagError as error:
        return Row(
            compression=mode,
            batch_size=variant.batch_size,
            autocast=variant.autocast,
            bev_channels=None,
            params=None,
            peak_allocated_bytes=None,
            high_bytes=None,
            reserved_bytes=None,
            largest_request_bytes=None,
            largest_request_module="",
            difference_bytes=None,
            verdict=Verdict.UNKNOWN,
            fits=(),
            error=str(error),
        )
    trace = traced.traces[Scenario.EXPECTED]
    upper_trace = traced.traces.get(Scenario.HIGH, trace)
    expected = simulate(trace.stream, target, until_oom=False)
    upper = simulate(upper_trace.stream, target, until_oom=False, bound=Bound.HIGH)
    largest = expected.largest_request
    peak = expected.peak.allocated_bytes
    gpus = fit_on_gpus(target, trace.stream, upper_trace.stream)
    return Row(
        compression=mode,
        batch_size=variant.batch_size,
        autocast=variant.autocast,
        bev_channels=bev_joint(variant.config).real,
        params=trace.params_by_module["total"],
        peak_allocated_bytes=peak,
        high_bytes=upper_end_bytes(expected, upper, sizes_vary=bool(traced.kept_voxels)),
        reserved_bytes=expected.peak_reserved_bytes,
        largest_request_bytes=largest.nbytes if largest else None,
        largest_request_module=largest.alloc.module if largest else "",
        difference_bytes=None if base is None else peak - base,
        verdict=judge(target, trace.stream, expected, upper_trace.stream, upper),
        fits=tuple(fit.gpu for fit in gpus if fit.verdict is Verdict.FITS),
    )
