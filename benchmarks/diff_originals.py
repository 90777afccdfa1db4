"""Set the recorded allocations of OpenPCDet's own steps beside the predicted ones.

    python benchmarks/diff_originals.py FOLDER [--row NAME --source CHECKOUT [--step N]]

FOLDER holds the histories that `measure_originals.py --history` wrote. Without --row, each history
is played through the simulated allocator, which must reserve what CUDA's did. With --row, that row
of bevdiag/accuracy/measured/originals_h200.json is traced as well, and what only one side asks for
is listed, in order, sizes that agree within 2 % taken as equal.
"""

import argparse
import json
import lzma
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import log
from pathlib import Path
from typing import Any

from measure_originals import ROOT, Row, scene

from bevdiag.memory.allocator import CachingAllocator, block_bytes
from bevdiag.memory.device import make_target
from bevdiag.memory.workspaces import workspace
from bevdiag.scenes import Scenario
from bevdiag.source import read_source_config, trace_step
from bevdiag.source.dialects import dialect_of
from bevdiag.trace.step import StepOptions

ROWS = ROOT / "bevdiag" / "accuracy" / "measured" / "originals_h200.json"
SCENES = ROOT / "tests" / "data" / "scenes.py"
PHASES = {"fwd": "forward", "bwd": "backward", "step": "optimizer"}
SMALLEST_SHOWN_BYTES = 100_000
STEPS_IN_SIZE = 50
"""Sizes that share a step of 2 % are taken as equal: workspaces differ by alignment."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One allocation: when, how large, and where."""

    step: int
    phase: str
    nbytes: int
    place: str


def read(file: Path) -> dict[str, Any]:
    """Read a history."""
    found: dict[str, Any] = json.loads(lzma.decompress(file.read_bytes()))
    return found


def replay(history: dict[str, Any]) -> tuple[int, int]:
    """Bytes that the simulated allocator reserves for the recorded events, and CUDA's."""
    allocator, live, reserved = CachingAllocator(), {}, 0
    for action, address, nbytes, _, _ in history["events"]:
        if action == "alloc":
            live[address] = allocator.malloc(nbytes)
        elif action == "free_completed":
            allocator.free(live.pop(address))
        elif action == "segment_alloc":
            reserved += nbytes
    return allocator.reserved_bytes, reserved


def recorded(history: dict[str, Any]) -> list[Asked]:
    """Return the allocations of a history; what came before the first step is step 0."""
    found, phases, step, phase = [], list(history["phases"]), 0, "load"
    for action, _, nbytes, time_us, place in history["events"]:
        while phases and time_us >= phases[0]["begin_us"]:
            begun = phases.pop(0)
            step, phase = begun["step"], PHASES[begun["phase"]]
        if action == "alloc":
            found.append(Asked(step, phase, block_bytes(nbytes), history["places"][place]))
    return found


def predicted(row: dict[str, Any], source: Path) -> list[Asked]:
    """Return the allocations of the traced row."""
    wanted = Row(**{name: row[name] for name in Row.__slots__})
    config = source / "tools" / "cfgs" / wanted.config
    settings = read_source_config(config)
    scenes = {Scenario.EXPECTED: scene(wanted, settings, SCENES)}
    options = StepOptions(
        optimization=settings.optimization, optimizer="adamw", autocast=wanted.autocast
    )
    dialect = dialect_of(source.resolve(), settings, ())
    traced = trace_step(dialect, options, scenes=scenes, pins={}, loads=False)
    stream = traced.expected.stream
    target = make_target(torch=row["torch"].partition("+")[0], gpu="h200", cudnn="9.19")
    found = []
    for event in stream.allocs():
        request = event.request
        nbytes = event.nbytes if request is None else workspace(request, target).expected
        place = f"{event.module} {event.op}"
        found.append(Asked(event.step, event.phase.value, block_bytes(nbytes), place))
    return found


def differences(ours: list[Asked], theirs: list[Asked], step: int) -> list[str]:
    """Return what one side alone asks for in a step: - predicted, + recorded."""
    lines = []
    for phase in PHASES.values():
        sides = [
            [a for a in side if (a.step, a.phase) == (step, phase) and a.nbytes > 0]
            for side in (ours, theirs)
        ]
        lines.append(f"{phase}: {len(sides[0])} predicted, {len(sides[1])} recorded")
        sides = [[a for a in side if a.nbytes >= SMALLEST_SHOWN_BYTES] for side in sides]
        keys = [[round(STEPS_IN_SIZE * log(a.nbytes)) for a in side] for side in sides]
        matcher = SequenceMatcher(None, *keys, autojunk=False)
        for tag, begin, end, their_begin, their_end in matcher.get_opcodes():
            if tag != "equal":
                lines += [f"  - {a.nbytes:>14,} B  {a.place}" for a in sides[0][begin:end]]
                lines += [
                    f"  + {a.nbytes:>14,} B  {a.place}" for a in sides[1][their_begin:their_end]
                ]
    return lines


def main() -> None:
    """Replay all histories, or compare one row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--row")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--step", type=int, default=2)
    options = parser.parse_args()
    if options.row is None:
        for file in sorted(options.folder.glob("*.json.xz")):
            ours, theirs = replay(read(file))
            print(f"{file.name.removesuffix('.json.xz'):<56} {100 * (ours / theirs - 1):+.2f} %")
        return
    row = json.loads(ROWS.read_text(encoding="utf-8"))[options.row]
    theirs = recorded(read(options.folder / f"{options.row}.json.xz"))
    print("\n".join(differences(predicted(row, options.source), theirs, options.step)))


if __name__ == "__main__":
    main()
