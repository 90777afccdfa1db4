"""mmdetection3d's measured steps against the predictions that were committed before them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEASURED: dict[str, Any] = json.loads(
    (ROOT / "bevdiag/accuracy/measured/mmdet3d_h200.json").read_text(encoding="utf-8")
)
PREDICTED: dict[str, Any] = json.loads(
    (ROOT / "benchmarks/predicted/mmdet3d_h200.json").read_text(encoding="utf-8")
)
FURTHEST = 0.03


@pytest.mark.parametrize("name", MEASURED)
def test_a_measured_step_lies_where_it_was_predicted(name: str) -> None:
    row, peak = MEASURED[name], PREDICTED[name]["peak"]
    real = row["peak_allocated_bytes"]
    assert row["params"] == PREDICTED[name]["params"]
    assert abs(peak["allocated_bytes"] / real - 1) < FURTHEST
    assert peak["low_bytes"] <= peak["allocated_bytes"] <= peak["high_bytes"]
    assert real <= peak["high_bytes"]


def test_the_page_shows_these_rows() -> None:
    script = ROOT / "benchmarks" / "measure_mmdet3d.py"
    table = subprocess.run(
        [sys.executable, str(script), "table"], capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs" / "mmdetection3d.md").read_text(encoding="utf-8")
    assert table.stdout in page
