"""The convolutions of some models' training steps, for a profile that knows them exactly."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bevdiag.memory.requests import ConvCall
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
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
        source = BuiltIn.read(path, InspectOptions(device="meta")).as_it_arrives()
        for batch_size in batch_sizes or (source.batch_size,):
            for autocast in autocasts or (source.autocast,):
                changed = source.run_with(batch_size=batch_size, autocast=autocast)
                trace = changed.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED]
                calls |= {call for call in trace.stream.requests if isinstance(call, ConvCall)}
    return calls
