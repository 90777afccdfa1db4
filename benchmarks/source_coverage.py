"""Trace every config of an OpenPCDet checkout through --source and write docs/coverage.md.

    python benchmarks/source_coverage.py CHECKOUT [--params PARAMS.json] [--only PART]
        [--fork CHECKOUT:CONFIG,CONFIG ...] [--out FILE]

A fork's configs are named below its tools/cfgs; they get a table of their own.

PARAMS.json holds parameter counts of models that were really built, by config, as in
{"kitti_models/second.yaml": {"params": 5325576}}; the column "counted" shows them.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from bevdiag.config.data import frames_of
from bevdiag.errors import BevdiagError
from bevdiag.memory.device import make_target
from bevdiag.memory.simulate import simulate
from bevdiag.scenes import Batch, default_samples, make_batch
from bevdiag.source import SourceSettings, SourceTrace, read_source_config, trace_source
from bevdiag.source.values import Scenario

BATCH_SIZE = 2
NUM_BOXES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one config."""

    config: str
    params: int | None = None
    peak: str = ""
    seconds: float = 0.0
    remark: str = ""


def scene(settings: SourceSettings) -> Batch:
    """A synthetic batch, voxelized as the config says."""
    samples, source = default_samples(
        settings.point_cloud_range,
        settings.point_features,
        BATCH_SIZE,
        dataset=str(settings.document.get("DATA_CONFIG.DATASET") or ""),
        frames=frames_of(settings.document.get("DATA_CONFIG")),
    )
    return make_batch(
        samples,
        point_cloud_range=settings.point_cloud_range,
        voxel_size=settings.voxel_size or (1.0, 1.0, 1.0),
        grid_size=settings.grid_size or (1, 1, 1),
        max_points=settings.max_points,
        max_voxels=settings.max_voxels,
        num_boxes=NUM_BOXES,
        num_classes=len(settings.class_names),
        seed=0,
        source=source,
    )


def trace(config: Path, checkout: Path) -> Row:
    """Trace one config."""
    name = str(config.relative_to(checkout / "tools" / "cfgs"))
    began = time.perf_counter()
    try:
        settings = read_source_config(config)
        result = trace_source(config, checkout, batch=scene(settings))
    except BevdiagError as error:
        seconds = time.perf_counter() - began
        return Row(config=name, seconds=seconds, remark=" ".join(str(error).split()))
    return Row(
        config=name,
        params=result.params_by_module["total"],
        peak=_peaks(result),
        seconds=time.perf_counter() - began,
        remark=f"{len(result.assumptions)} counts assumed" if result.assumptions else "",
    )


def _peaks(result: SourceTrace) -> str:
    target = make_target(torch="2.11.0", gpu="h200")

    def gib(scenario: Scenario) -> str:
        profile = simulate(result.scenarios[scenario].stream, target, until_oom=False)
        return f"{profile.peak.allocated_bytes / 2**30:.2f}"

    expected = gib(Scenario.EXPECTED)
    if Scenario.LOW not in result.scenarios:
        return expected
    return f"{expected} ({gib(Scenario.LOW)} to {gib(Scenario.HIGH)})"


def page(rows: list[Row], counted: dict[str, int], forks: dict[str, list[Row]]) -> str:
    """The page as Markdown."""
    done = sum(row.params is not None for row in rows)
    compared = [row for row in rows if row.params is not None and row.config in counted]
    exact = sum(row.params == counted[row.config] for row in compared)
    lines = [
        "# Coverage of OpenPCDet's configs",
        "",
        "Written by `benchmarks/source_coverage.py` from a checkout of OpenPCDet (8cacccec): every",
        "model config under tools/cfgs, traced through `--source` without a GPU.",
        f"Batch {BATCH_SIZE}, a synthetic scene, fp32, AdamW; peaks are those of an H200 with",
        "torch 2.11.",
        "",
        f"**{done} of {len(rows)} configs give a number.** Parameters are counted on the",
        "repository's own model; of those counted on a real build as well,",
        f"{exact} of {len(compared)} agree exactly.",
        "",
        "| config | parameters | counted | peak, GiB (low to high) | s | remark |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        real = f"{counted[row.config]:,}" if row.config in counted else ""
        lines.append(f"| {row.config} | {_params(row)} | {real} | {_rest(row)} |")
    if forks:
        lines += _fork_lines(forks)
    return "\n".join(lines) + "\n"


def _fork_lines(forks: dict[str, list[Row]]) -> list[str]:
    traced = [row for rows in forks.values() for row in rows]
    done = sum(row.params is not None for row in traced)
    return [
        "",
        "## Forks",
        "",
        f"**{done} of {len(traced)} headline configs of {len(forks)} forks give a number**, from",
        "the fork's own model and data pipeline.",
        "",
        "| fork | config | parameters | peak, GiB (low to high) | s | remark |",
        "|---|---|---:|---:|---:|---|",
        *(
            f"| {name} | {row.config} | {_params(row)} | {_rest(row)} |"
            for name, rows in forks.items()
            for row in rows
        ),
    ]


def _params(row: Row) -> str:
    return f"{row.params:,}" if row.params is not None else "-"


def _rest(row: Row) -> str:
    remark = row.remark.replace("|", "\\|")
    return f"{row.peak or 'none'} | {row.seconds:.0f} | {remark}"


def main() -> None:
    """Trace, print a line a config, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--params", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--fork", action="append", default=[], metavar="CHECKOUT:CONFIG,CONFIG")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.checkout / "tools" / "cfgs"
    counted = {}
    if options.params is not None:
        listed = json.loads(options.params.read_text())
        counted = {config: entry["params"] for config, entry in listed.items()}
    rows = []
    for config in sorted(folder.glob("*_models/*.yaml")):
        if options.only in str(config):
            rows.append(trace(config, options.checkout))
            print(rows[-1], flush=True)
    forks: dict[str, list[Row]] = {}
    for fork in options.fork:
        named, _, configs = fork.partition(":")
        checkout = Path(named)
        traced = [trace(checkout / "tools" / "cfgs" / c, checkout) for c in configs.split(",")]
        print(*traced, sep="\n", flush=True)
        forks[checkout.name] = traced
    if options.out is not None:
        options.out.write_text(page(rows, counted, forks))


if __name__ == "__main__":
    main()
