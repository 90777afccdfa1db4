"""How the focal encoder's kept voxels drift from step to step, and what their drift costs.

tests/data/focal_steps_h200.json holds real training steps of the shipped detector: weights drawn
on the CPU from `seed`, `boxes` synthetic boxes drawn from `boxes_seed`, plain AdamW.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bevdiag.memory.device import make_target
from bevdiag.memory.simulate import simulate
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.scenes.scenario import Scenario

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
ROWS = DATA / "focal_steps_h200.json"
CONFIG = ROOT / "configs" / "focalsst_dsvt.yaml"
PREDICTED_SEED = 0
"""Of the weights: the other seeds' rows only show how counts drift."""


def cloud_file(sample: int) -> Path:
    """Find a sample's stored cloud: the first one comes with bevdiag."""
    folders = (DATA, ROOT / "bevdiag" / "accuracy" / "measured")
    return next(f for folder in folders if (f := folder / f"sonar{sample}.npz").is_file())


def read_steps() -> dict[str, Any]:
    """Read the rows by name."""
    rows: dict[str, Any] = json.loads(ROWS.read_text(encoding="utf-8"))
    return rows


def drift_text(rows: dict[str, Any]) -> str:
    """Say what a step after the first keeps, relative to the first step."""
    counts = [list(row["kept_voxels"].values()) for row in rows.values()]
    second = [kept[1] / kept[0] for kept in counts]
    later = [number / kept[0] for kept in counts for number in kept[1:]]
    seeds = len({row["seed"] for row in rows.values()})
    return (
        f"In {len(rows)} measured runs from {seeds} seeds the second step kept "
        f"{min(second):.2f} to {max(second):.2f} times the first one's voxels (median "
        f"{median(second):.2f}, more in {sum(share > 1 for share in second)} of them), the "
        f"second to fourth {min(later):.2f} to {max(later):.2f} times.\n"
    )


def steps_table(rows: dict[str, Any], folder: Path) -> str:
    """Rows predicted with the counts of each of their steps; `folder` takes the point files."""
    lines = [
        "| INPUT | compression | batch | autocast | boxes | kept voxels by step | measured | error "
        "| reserved | error |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows.values():
        if row["seed"] != PREDICTED_SEED:
            continue
        allocated, reserved = _predicted(row, folder)
        counts = ", ".join(f"{count:,}" for count in row["kept_voxels"].values())
        cells = (
            row["bev_reads"],
            row["height_compression"],
            str(row["batch_size"]),
            row["autocast"],
            f"{row['boxes']}, seed {row['boxes_seed']}",
            counts,
            f"{row['peak_allocated_bytes'] / 2**30:.2f} GiB",
            f"{100 * (allocated / row['peak_allocated_bytes'] - 1):+.2f} %",
            f"{row['max_reserved_bytes'] / 2**30:.2f} GiB",
            f"{100 * (reserved / row['max_reserved_bytes'] - 1):+.2f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _predicted(row: dict[str, Any], folder: Path) -> tuple[int, int]:
    """Peak allocated and reserved bytes."""
    options = InspectOptions(
        points=tuple(_cloud(sample, folder) for sample in range(row["batch_size"])),
        batch_size=row["batch_size"],
        autocast=row["autocast"],
        optimizer="adamw",
        compression=row["height_compression"],
        overrides=(f"MODEL.MAP_TO_BEV.INPUT={row['bev_reads']}",),
        pins=row["kept_voxels"],
    )
    recorded = BuiltIn.read(CONFIG, options).record((Scenario.EXPECTED,))
    target = make_target(torch="2.11.0", gpu="h200", cudnn="9.19")
    profile = simulate(recorded.traces[Scenario.EXPECTED].stream, target, until_oom=False)
    return profile.peak.allocated_bytes, profile.max_reserved_bytes


def _cloud(sample: int, folder: Path) -> str:
    path = folder / f"sonar{sample}.npy"
    with np.load(cloud_file(sample)) as stored:
        np.save(path, stored["points"])
    return str(path)
