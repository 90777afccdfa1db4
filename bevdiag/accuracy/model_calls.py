"""The convolutions of some models' training steps, for a profile that knows them exactly."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bevdiag.memory.events import Alloc, ConvCall
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.session import Session
from bevdiag.trace.kept_voxels import Scenario


def calls_of(
    configs: Sequence[Path],
    batch_sizes: Sequence[int],
    autocasts: Sequence[str],
    progress: Callable[[str, float], None],
) -> set[ConvCall]:
    """Return the convolutions of the configs' steps, at every batch size and autocast.

    Args:
        configs: models that are built in.
        batch_sizes: empty for each config's own.
        autocasts: likewise.
        progress: called with each config's name.

    Raises:
        BevdiagError: a config that cannot be used.
    """
    calls: set[ConvCall] = set()
    for number, path in enumerate(configs):
        progress(path.name, number / len(configs))
        session = Session(InspectOptions(device="meta"))
        variant = session.traceable(path)
        for batch_size in batch_sizes or (variant.batch_size,):
            for autocast in autocasts or (variant.autocast,):
                changed = replace(variant, batch_size=batch_size, autocast=autocast)
                trace = session.trace(changed, (Scenario.EXPECTED,)).traces[Scenario.EXPECTED]
                calls |= {
                    event.request
                    for event in trace.stream.events
                    if isinstance(event, Alloc) and isinstance(event.request, ConvCall)
                }
    return calls
