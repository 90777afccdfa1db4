"""The measured rows that come with bevdiag: the shipped model's, OpenPCDet's and its forks'.

The first are predicted anywhere. The others name configs that bevdiag does not carry: OpenPCDet's
with the plain step on the newest stack, two older stacks, and what training loops do around the
step; those of its forks with the plain step, each with the fork's own code.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bevdiag.accuracy.clouds import Clouds, Stored, made_up
from bevdiag.accuracy.outcome import MeasuredRow
from bevdiag.accuracy.ray_clouds import ray_clouds
from bevdiag.accuracy.rows import read_rows
from bevdiag.config.shipped import shipped_file

_MEASURED = Path(__file__).parent / "measured"
_SHIPPED_MODEL = "focalsst_dsvt_h200.json"
_ORIGINALS = "originals_h200.json"
_FORKS = "forks_h200.json"
_OTHERS = ("stacks_h200.json", "ddp_h200.json", "loops_h200.json")
"""Rows of older stacks and of loops, which were measured with other clouds."""
_SONAR = "sonar0.npz"


def shipped_rows(configs: Path | None) -> list[tuple[MeasuredRow, Clouds]]:
    """Every row with what makes its clouds.

    Args:
        configs: the folder of a checkout's configs; without it their rows have no config.
    """
    rows = json.loads((_MEASURED / _SHIPPED_MODEL).read_text(encoding="utf-8"))["rows"]
    own: list[tuple[MeasuredRow, Clouds]] = [
        (_shipped_model(name, row), Stored(_MEASURED / _SONAR)) for name, row in rows.items()
    ]
    files: list[tuple[str, Clouds]] = [(_ORIGINALS, made_up), (_FORKS, made_up)]
    files += [(name, ray_clouds) for name in _OTHERS]
    for name, clouds in files:
        found = read_rows(_MEASURED / name, configs)
        if configs is None:
            found = [replace(row, config=None) for row in found]
        own += [(row, clouds) for row in found]
    return own


def _shipped_model(name: str, row: dict[str, Any]) -> MeasuredRow:
    return MeasuredRow(
        name=f"focalsst_dsvt.{name}",
        config=shipped_file("configs/focalsst_dsvt.yaml"),
        scene="sonar",
        points_per_sample=0,
        batch_size=row["batch_size"],
        autocast=row["autocast"],
        compression=row["compression"],
        overrides=(f"MODEL.MAP_TO_BEV.INPUT={row['bev_input']}",),
        pins=dict(row["kept_voxels"]),
        first_step_bytes=None,
        cudnn=None,
        params=row["params"],
        peak_allocated_bytes=row["peak_allocated_bytes"],
        max_reserved_bytes=row["peak_reserved_bytes"],
    )
