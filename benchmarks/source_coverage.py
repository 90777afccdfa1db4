"""Predict public repositories' own configs with `inspect --source` and write docs/coverage.md.

    python benchmarks/source_coverage.py RESULTS.json [--openpcdet CHECKOUT [--params PARAMS.json]]
        [--fork [NAME=]CHECKOUT:CONFIG,CONFIG ...] [--jobs N] [--limit SECONDS] [--again PART]
        [--rehearse auto|off]
        [--also RESULTS.json ...] [--out docs/coverage.md [--page-alone]]

Every model config of OpenPCDet is a case, and every config that is named of a fork, below its
tools/cfgs; a Python config below the checkout. NAME is what the page calls a fork, by default its
folder and commit. Each case runs the command line in a process of its own. RESULTS.json is written
after each; cases that it holds are not run again, but those whose name contains PART ("" runs all
again, "failed" what gave no number). The page shows the cases of RESULTS.json and of the files
that --also names, asked for again or not.

PARAMS.json holds parameter counts of models that were really built, by config, as in
{"kitti_models/second.yaml": {"params": 5325576}}; the column "counted" shows them.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import bevdiag

ROOT = Path(__file__).parents[1]
CONFIGS = Path("tools", "cfgs")
OPENPCDET = "OpenPCDet"
BATCH_SIZE = 2
ASKED = (
    *("--device", "meta", "--gpu", "h200", "--torch", "2.11.0", "--profile", "none"),
    *("--no-remedies", "--isolated"),
)
FAILED = "failed"
_MOST_SITES = 3
_FEW = 2
"""Python configs of a repository that share a section with those of others."""
_PLUGINS = "Plugins and forks with Python configs"
_FURTHER = ("; before that, ", "; next: ")
"""What follows the sentence that says why there is no number."""


@dataclass(frozen=True, slots=True)
class Case:
    """One config of one repository."""

    repository: str
    checkout: Path
    config: str

    @property
    def name(self) -> str:
        """Unique among all cases."""
        return f"{self.repository}: {self.config}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of a case.

    Attributes:
        remark: the assumptions of a number, or why there is none.
        errors: the findings of severity "error", code and message.
        versions: of what it ran with.
        asked: what it was asked beyond what every case is.
    """

    params: int | None = None
    low_bytes: int = 0
    peak_bytes: int = 0
    high_bytes: int = 0
    seconds: float = 0.0
    remark: str = ""
    errors: tuple[str, ...] = ()
    versions: str = ""
    asked: str = ""

    @property
    def gives_number(self) -> bool:
        """Whether the step was predicted."""
        return self.params is not None


def run(case: Case, limit: float, rehearse: str = "auto") -> Found:
    """Run one case, and stop its processes after `limit` seconds."""
    command = [sys.executable, "-W", "ignore", "-m", "bevdiag", "inspect"]
    folder = case.checkout if case.config.endswith(".py") else case.checkout / CONFIGS
    command += [str(folder / case.config), "--source", str(case.checkout)]
    command += [*ASKED, "--batch-size", str(BATCH_SIZE), "--format", "json"]
    command += ["--timeout", str(int(limit)), "--rehearse", rehearse]
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    began = time.perf_counter()
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": search},
        start_new_session=True,
    )
    try:
        out, said = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return Found(seconds=limit, remark=f"did not end within {limit:g} s")
    return _read(out, said, time.perf_counter() - began)


def _read(out: str, said: str, seconds: float) -> Found:
    document = json.loads(out) if out.strip() else {}
    errors = tuple(
        f"{finding['code']}: {finding['message']}"
        for finding in document.get("findings", ())
        if finding["severity"] == "error"
    )
    if document.get("peak") is None:
        sentence = " ".join((document.get("error") or said or "; ".join(errors)).split())
        # What comes before it are lines of progress.
        remark = sentence.partition("error: ")[2] or sentence
        for further in _FURTHER:
            remark = remark.partition(further)[0]
        return Found(seconds=seconds, remark=remark, errors=errors)
    return Found(
        params=document["params"]["total"],
        low_bytes=document["peak"]["low_bytes"],
        peak_bytes=document["peak"]["allocated_bytes"],
        high_bytes=document["peak"]["high_bytes"],
        seconds=seconds,
        remark=_assumed(document["assumptions"]),
        errors=errors,
    )


def _assumed(assumptions: list[dict[str, Any]]) -> str:
    sites = [entry["site"] for entry in assumptions]
    if not sites:
        return ""
    more = f" and {len(sites) - _MOST_SITES} more" if len(sites) > _MOST_SITES else ""
    return f"assumed: {', '.join(sites[:_MOST_SITES])}{more}"


def cases_of(options: argparse.Namespace) -> list[Case]:
    """OpenPCDet's configs and those of the named forks."""
    cases = []
    if options.openpcdet is not None:
        folder = options.openpcdet / CONFIGS
        cases += [
            Case(OPENPCDET, options.openpcdet, str(config.relative_to(folder)))
            for config in sorted(folder.glob("*_models/*.yaml"))
        ]
    for fork in options.fork:
        place, _, configs = fork.partition(":")
        name, named, checkout = place.rpartition("=")
        folder = Path(checkout).resolve()
        cases += [
            Case(name if named else _folder_and_commit(folder), folder, config)
            for config in configs.split(",")
        ]
    return cases


def _cases_in(found: Iterable[str], asked: list[Case]) -> list[Case]:
    """Those that are asked for, then the others that results hold, by their names."""
    names = {case.name for case in asked}
    others = sorted(name for name in found if name not in names)
    split = [name.partition(": ") for name in others]
    return asked + [Case(repository, Path(), config) for repository, _, config in split]


def _folder_and_commit(checkout: Path) -> str:
    git = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return f"{checkout.name} {commit}".strip()


def page(asked: list[Case], found: dict[str, Found], counted: dict[str, int]) -> str:
    """Return the page as Markdown."""
    cases = [case for case in asked if case.name in found]
    own = [case for case in cases if case.repository == OPENPCDET]
    written = [case for case in cases if case.config.endswith(".py")]
    others = [case for case in cases if case.repository != OPENPCDET and case not in written]
    first = [case for case in asked if not case.config.endswith(".py")]
    missing = len(first) - len(own) - len(others)
    exact = [
        found[case.name].params == counted[case.config]
        for case in own
        if case.config in counted and found[case.name].gives_number
    ]
    forks = len({case.repository for case in others})
    lines = [
        "# Coverage: repositories' own configs",
        "",
        "Written by `benchmarks/source_coverage.py`: each config through",
        "`bevdiag inspect --source` without a GPU, for an H200 with torch 2.11 by rules alone",
        f"(`--profile none`), batch {BATCH_SIZE}, a synthetic scene of the config's data set, its",
        "own precision and optimizer. Nothing of a repository is changed, compiled or downloaded.",
        "",
        f"Versions: {_all_versions(found[case.name] for case in own + others)}.",
        "",
        *([f"{missing} of {len(first)} configs have not been run yet.", ""] if missing else []),
        f"**{_share(own, found)} of OpenPCDet's configs give a number** (8cacccec).",
        "Parameters are counted on the repository's own model; of those counted on a real build as",
        f"well, {sum(exact)} of {len(exact)} agree exactly.",
        "",
        "| config | parameters | counted | peak, GiB (low to high) | s | remark |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for case in own:
        real = f"{counted[case.config]:,}" if case.config in counted else ""
        row = found[case.name]
        lines.append(f"| {case.config} | {_params(row)} | {real} | {_rest(row)} |")
    lines += [
        "",
        "## Forks",
        "",
        f"**{_share(others, found)} headline configs of {forks} forks give a number**, from the",
        "fork's own model and data pipeline.",
        "",
        "| fork | config | parameters | peak, GiB (low to high) | s | remark |",
        "|---|---|---:|---:|---:|---|",
    ]
    for case in others:
        row = found[case.name]
        lines.append(f"| {case.repository} | {case.config} | {_params(row)} | {_rest(row)} |")
    counts = Counter(case.repository for case in written)
    for repository in sorted(counts, key=str.lower):
        if counts[repository] > _FEW:
            cases = [case for case in written if case.repository == repository]
            due = sum(case.repository == repository for case in asked)
            lines += _section(repository, cases, found, due)
    if few := [case for case in written if counts[case.repository] <= _FEW]:
        lines += _section(_PLUGINS, few, found, len(few))
    return "\n".join(lines) + "\n"


def _section(title: str, cases: list[Case], found: dict[str, Found], due: int) -> list[str]:
    """Make the part of the page on a repository's Python configs, or on several with few each."""
    several = "repository | " if title == _PLUGINS else ""
    lines = [
        "",
        f"## {title}",
        "",
        f"**{_share(cases, found)} configs give a number**; the remark says why the others do not.",
        *([f"{due - len(cases)} of {due} have not been run yet."] if due > len(cases) else []),
        f"Versions: {_all_versions(found[case.name] for case in cases)}.",
        "",
        f"| {several}config | parameters | peak, GiB (low to high) | s | remark |",
        f"|{'---|' if several else ''}---|---:|---:|---:|---|",
    ]
    for case in cases:
        row = found[case.name]
        named = f"{case.repository} | " if several else ""
        lines.append(f"| {named}{case.config} | {_params(row)} | {_rest(row)} |")
    return lines


def _share(cases: list[Case], found: dict[str, Found]) -> str:
    return f"{sum(found[case.name].gives_number for case in cases)} of {len(cases)}"


def _all_versions(rows: Iterable[Found]) -> str:
    """Say what the rows ran with, and how many did where they differ."""
    counts = Counter(row.versions for row in rows)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{said} ({count} configs)" for said, count in counts.most_common())


def _versions() -> str:
    packages = " ".join(f"{name} {version(name)}," for name in ("torch", "numpy"))
    return f"bevdiag {bevdiag.__version__}, {packages} Python {platform.python_version()}"


def _params(found: Found) -> str:
    return f"{found.params:,}" if found.params is not None else "-"


def _rest(found: Found) -> str:
    peak = "none"
    if found.gives_number:
        low, expected, high = (
            f"{size / 2**30:.2f}" for size in (found.low_bytes, found.peak_bytes, found.high_bytes)
        )
        peak = expected if low == high else f"{expected} ({low} to {high})"
    said = [part for part in (found.remark, found.asked) if part]
    if found.gives_number:
        said += [f"error {error}" for error in found.errors]
    remark = "; ".join(said).replace("|", "\\|")
    return f"{peak} | {found.seconds:.0f} | {remark}"


def _is_due(name: str, found: dict[str, Found], again: str | None) -> bool:
    if name not in found:
        return True
    if again == FAILED:
        return not found[name].gives_number
    return again is not None and again in name


def _shares(jobs: int) -> SimpleQueue[set[int]]:
    """Deal the cores of this process out to jobs."""
    cores = sorted(os.sched_getaffinity(0))
    shares: SimpleQueue[set[int]] = SimpleQueue()
    for job in range(jobs):
        shares.put(set(cores[job % len(cores) :: jobs]))
    return shares


def _keep_to(cores: set[int]) -> None:
    """Keep this thread, and the processes that it starts, to these cores."""
    os.sched_setaffinity(0, cores)


def run_all(cases: Iterable[Case], found: dict[str, Found], options: argparse.Namespace) -> None:
    """Run what is due, `--jobs` at a time, and keep each result at once."""
    due = [case for case in cases if _is_due(case.name, found, options.again)]
    asked = "" if options.rehearse == "auto" else f"--rehearse {options.rehearse}"
    shares = _shares(options.jobs)
    with ThreadPoolExecutor(options.jobs, initializer=lambda: _keep_to(shares.get())) as pool:
        running = {pool.submit(run, case, options.limit, options.rehearse): case for case in due}
        for done in as_completed(running):
            name = running[done].name
            found[name] = replace(done.result(), versions=_versions(), asked=asked)
            print(name, _rest(found[name]), sep=" | ", flush=True)
            kept = {key: asdict(value) for key, value in sorted(found.items())}
            options.results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run the cases, print a line each, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--openpcdet", type=Path)
    parser.add_argument("--params", type=Path)
    parser.add_argument("--fork", action="append", default=[], metavar="[NAME=]CHECKOUT:CONFIG,...")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=float, default=600.0)
    parser.add_argument("--again")
    parser.add_argument("--rehearse", choices=("auto", "off"), default="auto")
    parser.add_argument("--also", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page-alone", action="store_true", help="run nothing")
    options = parser.parse_args()
    counted = {}
    if options.params is not None:
        listed = json.loads(options.params.read_text(encoding="utf-8"))
        counted = {config: entry["params"] for config, entry in listed.items()}
    found = _kept_in(options.results) if options.results.exists() else {}
    cases = cases_of(options)
    if not options.page_alone:
        run_all(cases, found, options)
    if options.out is not None:
        for also in options.also:
            found = {**_kept_in(also), **found}
        text = page(_cases_in(found, cases), found, counted)
        options.out.write_text(text, encoding="utf-8")


def _kept_in(results: Path) -> dict[str, Found]:
    kept = json.loads(results.read_text(encoding="utf-8"))
    return {
        key: Found(**{**entry, "errors": tuple(entry["errors"])}) for key, entry in kept.items()
    }


if __name__ == "__main__":
    main()
