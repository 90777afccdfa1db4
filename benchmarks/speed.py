"""Time whole commands in fresh processes, beside `import torch` in the same run.

    python benchmarks/speed.py CONFIGS [--only NAME] [--source DIR] [--runs N] [--scaling]
                               [--json OUT]

CONFIGS is a folder laid out like OpenPCDet's tools/cfgs. Every case is run N times, in turns with
`import torch`; a ratio is that of the medians. `--scaling` adds runs of twice the batch and of
twice the points: a growth above 1 would be worse than linear. `--source` adds second through this
copy of OpenPCDet, as it is and with guards on its loss: what a rehearsal adds is the difference.
"""

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IMPORT_TORCH = ("-c", "import torch")
SHIPPED = Path(__file__).parent.parent / "configs"
PACKAGE = Path(__file__).parent.parent / "bevdiag"
MAX_RSS_BYTES = 2 * 1024**3
GUARDED_FILE = Path("pcdet/models/detectors/second_net.py")
LOSS_LINE = "            loss, tb_dict, disp_dict = self.get_training_loss()\n"
GUARDS = {
    "NaN guard": ("loss.isnan().any()", 0.5),
    "rehearsed guard": ("not loss.item() < 1e6", 2.5),
}
"""Conditions on the loss, with what they may add: the first follows without a value."""
SMALL = ("--gpu", "rtx4090")
"""A GPU that the shipped model does not fit, so that plans are searched for."""
REMEDIES = (*SMALL, "--remedies")
QUIET = ("--device", "meta", "--format", "json", "-o", os.devnull)


@dataclass(frozen=True, slots=True)
class Case:
    """A command to time.

    Attributes:
        limit: the ratio to `import torch` that it must stay under.
        beside: the name of a case; the ratio is that of what this one takes longer.
    """

    name: str
    arguments: tuple[str, ...]
    limit: float | None = None
    beside: str | None = None


@dataclass(slots=True)
class Timed:
    """Seconds of every run of a case, and its largest resident set, children included."""

    case: Case
    seconds: list[float]
    rss_bytes: int = 0

    @property
    def median(self) -> float:
        """In seconds."""
        return statistics.median(self.seconds)


def inspection(config: Path, *extra: str) -> tuple[str, ...]:
    """Return the arguments of an inspection as Python runs it."""
    return ("-m", "bevdiag", "inspect", str(config), *extra, *QUIET)


def cases(configs: Path) -> list[Case]:
    """List the commands on other models, then those on the shipped configs, each with its limit."""
    second = configs / "kitti_models/second.yaml"
    centerpoint = configs / "waymo_models/centerpoint.yaml"
    found = [
        Case("second, batch 4", inspection(second, "--batch-size", "4", "--no-remedies"), 2.5),
        Case("second, batch 4, remedies", inspection(second, "--batch-size", "4", *REMEDIES)),
        Case(
            "centerpoint, batch 4",
            inspection(centerpoint, "--batch-size", "4", "--no-remedies"),
            6,
        ),
        Case(
            "centerpoint, batch 4, remedies",
            inspection(centerpoint, "--batch-size", "4", *REMEDIES),
        ),
    ]
    for config in sorted(SHIPPED.glob("*.yaml")):
        found += [
            Case(f"{config.stem}, no remedies", inspection(config, "--no-remedies"), 3.5),
            Case(config.stem, inspection(config, *SMALL), 10),
            Case(f"{config.stem}, every remedy", inspection(config, *REMEDIES)),
            Case(
                f"{config.stem}, fix", ("-m", "bevdiag", "fix", str(config), *SMALL, *QUIET[2:]), 12
            ),
        ]
    return found


def guarded_cases(configs: Path, source: Path, folder: Path) -> list[Case]:
    """Second by its own code: as it is, with a guard that no value decides, with one that asks."""
    second = configs / "kitti_models/second.yaml"
    plain = "second, its own code"

    def case(name: str, repository: Path, limit: float | None, beside: str | None) -> Case:
        arguments = inspection(second, "--source", str(repository), "--batch-size", "1")
        return Case(name, arguments, limit, beside)

    found = [case(plain, source, None, None)]
    for name, (condition, limit) in GUARDS.items():
        repository = folder / name.replace(" ", "_")
        repository.mkdir()
        shutil.copytree(source / "pcdet", repository / "pcdet")
        (repository / "tools").mkdir()
        file = repository / GUARDED_FILE
        text = file.read_text()
        if LOSS_LINE not in text:
            raise SystemExit(f"{file}: found no line `{LOSS_LINE.strip()}`")
        guard = f"            if {condition}:\n                raise FloatingPointError('loss')\n"
        file.write_text(text.replace(LOSS_LINE, LOSS_LINE + guard))
        found.append(case(f"{plain}, {name}", repository, limit, plain))
    return found


def scaling_cases(configs: Path, folder: Path) -> list[Case]:
    """Second on one and two samples, and on clouds of 20,000, 40,000 and 80,000 points."""
    second = configs / "kitti_models/second.yaml"
    found = [
        Case(f"second, batch {n}", inspection(second, "--batch-size", str(n), "--no-remedies"))
        for n in (1, 2, 4, 8, 16)
    ]
    rng = np.random.default_rng(0)
    for count in (40_000, 80_000, 160_000):
        file = folder / f"{count}.npy"
        low, high = np.array([0, -40, -3, 0]), np.array([70.4, 40, 1, 1])
        np.save(file, rng.uniform(low, high, (count, 4)).astype(np.float32))
        edits = ("--set", "DATA_CONFIG.DATA_PROCESSOR.2.MAX_NUMBER_OF_VOXELS.train=160000")
        arguments = inspection(second, "--points", str(file), *edits, "--batch-size", "1")
        found.append(Case(f"second, {count} points", (*arguments, "--no-remedies")))
    return found


def run_once(arguments: Sequence[str]) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of one fresh process (and of its children)."""
    begin = time.perf_counter()
    child = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE)
    assert child.stderr is not None
    message = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    if child.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(arguments)} failed: {message.strip()}")
    return seconds, usage.ru_maxrss * 1024


def measure(all_cases: Iterable[Case], runs: int) -> list[Timed]:
    """Every case `runs` times, in turns, so that a busy moment hits them alike."""
    timed = [Timed(case, []) for case in all_cases]
    for _ in range(runs):
        for one in timed:
            seconds, rss_bytes = run_once(one.case.arguments)
            one.seconds.append(seconds)
            one.rss_bytes = max(one.rss_bytes, rss_bytes)
    return timed


def main() -> int:
    """Print one line a case; 1 if a case misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="the cases whose names hold this")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    compileall.compile_dir(PACKAGE, quiet=1)  # as pip leaves it
    with tempfile.TemporaryDirectory() as folder:
        wanted = cases(options.configs)
        if options.scaling:
            wanted += scaling_cases(options.configs, Path(folder))
        if options.source:
            wanted += guarded_cases(options.configs, options.source, Path(folder))
        wanted = [case for case in wanted if options.only in case.name]
        base, *timed = measure([Case("import torch", IMPORT_TORCH), *wanted], options.runs)
    missed = 0
    rows = []
    print(f"{base.case.name:<40}{base.median:8.2f} s")
    medians = {one.case.name: one.median for one in timed}
    for one in timed:
        seconds = one.median - medians.get(one.case.beside or "", 0.0)
        ratio, limit = seconds / base.median, one.case.limit
        good = one.rss_bytes < MAX_RSS_BYTES and (limit is None or ratio < limit)
        missed += not good
        bound = "" if limit is None else f" of {limit:g}"
        print(
            f"{one.case.name:<40}{one.median:8.2f} s{ratio:7.2f} x{bound:<7}"
            f"{one.rss_bytes / 1024**2:8.0f} MiB  {'' if good else 'MISSED'}".rstrip()
        )
        rows.append({"case": one.case.name, "seconds": one.seconds, "rss_bytes": one.rss_bytes})
    if options.json:
        options.json.write_text(json.dumps({"import": base.seconds, "rows": rows}, indent=1))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
