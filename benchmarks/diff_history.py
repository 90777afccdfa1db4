"""Set a recorded step's allocations beside the predicted ones, size by size.

    python benchmarks/diff_history.py HISTORY.json CONFIG POINTS.npy [--assume N] [KEY=value ...]

HISTORY.json comes from record_history.py, made with the same config, points and overrides. Shown
are the sizes (rounded to 512 B) that one side asks for more often than the other, largest
difference first, with where each side asks.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from bevdiag.memory.device import DeviceTarget, make_target
from bevdiag.memory.events import EventStream
from bevdiag.memory.workspaces import workspace
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.trace.kept_voxels import SITE, Scenario

STEP = 2
GRANULE = 512


def rounded(nbytes: int) -> int:
    """Round a request as the allocator does."""
    return -(-nbytes // GRANULE) * GRANULE


def predicted(stream: EventStream, target: DeviceTarget) -> list[tuple[int, str]]:
    """Size and place of every allocation of the step."""
    found = []
    for event in stream.allocs(stream.where(step=STEP)):
        nbytes = event.nbytes
        if event.request is not None:
            nbytes = workspace(event.request, target).expected
        found.append((rounded(nbytes), f"{event.phase.value} {event.module} {event.op}"))
    return found


def main() -> None:
    """Trace the config and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("history", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("points")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--assume", type=int)
    parser.add_argument("--lines", type=int, default=40)
    options = parser.parse_intermixed_args()
    history = json.loads(options.history.read_text(encoding="utf-8"))
    pins = {SITE: options.assume} if options.assume is not None else {}
    wanted = InspectOptions(
        points=(options.points,),
        optimizer="adamw",
        overrides=tuple(options.overrides),
        pins=pins,
    )
    source = BuiltIn.read(options.config, wanted)
    trace = source.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED]
    target = make_target(torch=history["torch"], gpu="h200", cudnn=str(history["cudnn"]))
    ours = predicted(trace.stream, target)
    theirs = [
        (rounded(size), " < ".join(frames[:2]))
        for action, _, size, frames in history["events"]
        if action == "alloc"
    ]
    print(f"{len(ours)} allocations predicted, {len(theirs)} recorded")
    for line in differences(ours, theirs)[: options.lines]:
        print(line)


def differences(ours: list[tuple[int, str]], theirs: list[tuple[int, str]]) -> list[str]:
    """One line a size that the sides do not ask for equally often."""
    counts = Counter(size for size, _ in ours), Counter(size for size, _ in theirs)
    places, recorded = dict(reversed(ours)), dict(reversed(theirs))
    uneven = [size for size in counts[0] | counts[1] if counts[0][size] != counts[1][size]]
    uneven.sort(key=lambda size: -abs(counts[0][size] - counts[1][size]) * size)
    return [
        f"{size:>14,} B  predicted {counts[0][size]:>4}  recorded {counts[1][size]:>4}  "
        f"{places.get(size, '-')}  |  {recorded.get(size, '-')}"
        for size in uneven
    ]


if __name__ == "__main__":
    main()
