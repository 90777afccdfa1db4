"""`bevdiag compare`: variants of one config beside each other."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

from bevdiag.errors import BevdiagError
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.judged import judged
from bevdiag.prediction.options import InspectOptions, Progress
from bevdiag.prediction.predicted import source_of
from bevdiag.prediction.result import CompareReport, Variant
from bevdiag.prediction.step_source import ENDS_THAT_JUDGE, ConfigSource


def compare(
    config: Path,
    options: InspectOptions,
    compressions: Sequence[str],
    batch_sizes: Sequence[int],
    autocasts: Sequence[str],
    progress: Progress,
) -> CompareReport:
    """Trace every combination; the others are held against the first row, without compression.

    Empty batch sizes or autocasts mean the config's own. Compressions are modes of bevdiag's own
    module, with `options.source` names of the repository's.

    Raises:
        BevdiagError: a config, point file or option that cannot be used.
    """
    source = source_of(config, options).as_it_arrives()
    modes = list(dict.fromkeys((source.UNCHANGED, *compressions)))
    axes = list(product(autocasts or [source.autocast], batch_sizes or [source.batch_size], modes))
    rows: list[Variant] = []
    for number, (autocast, batch_size, mode) in enumerate(axes):
        progress(f"{mode}, batch {batch_size}, autocast {autocast}", number / len(axes))
        row = partial(Variant, compression=mode, batch_size=batch_size, autocast=autocast)
        changed = source.run_with(batch_size=batch_size, autocast=autocast)
        rows.append(_traced(changed, mode, row, rows[0].peak_allocated_bytes if rows else None))
    scene, assumptions = source.input()
    return CompareReport(
        config=str(config),
        target=source.target(),
        scene=scene,
        variants=tuple(rows),
        assumptions=assumptions,
    )


def _traced(
    source: ConfigSource, mode: str, row: Callable[..., Variant], first_peak_bytes: int | None
) -> Variant:
    """Fill a row; what cannot be traced has no figures and no verdict."""
    try:
        source = source.reduced(mode)
        recorded = source.record(ENDS_THAT_JUDGE)
    except BevdiagError as error:
        return row(verdict=Verdict.UNKNOWN, error=str(error))
    step = judged(recorded.traces, source.target())
    largest = step.expected.largest_request
    peak = step.expected.peak.allocated_bytes
    return row(
        largest_request_bytes=largest.nbytes if largest else None,
        largest_request_module=largest.alloc.module if largest else "",
        difference_bytes=None if first_peak_bytes is None else peak - first_peak_bytes,
        fitting=tuple(fit.gpu for fit in step.gpus() if fit.verdict is Verdict.FITS),
        **step.figures(source.bev_channels),
    )
