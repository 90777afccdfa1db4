"""Predictions against steps that an H200 measured: the shipped model, torch 2.11, cuDNN 9.19."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.simulate import simulate
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.trace.kept_voxels import SITE, Scenario

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
CONFIG = ROOT / "configs" / "focalsst_dsvt.yaml"
TRUTH = ROOT.parent / "shared" / "truth" / "focalsst_h200.json"
MEASURED = ROOT / "bevdiag" / "accuracy" / "measured"
ROWS: dict[str, Any] = json.loads((MEASURED / "focalsst_dsvt_h200.json").read_text())

TRUTH_ROWS = ("flat22400_b1", "max_b1", "sparsemax_b1")
TRUTH_KEPT = 464_367


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The cloud that all rows were measured on."""
    path = tmp_path_factory.mktemp("sonar") / "sonar0.npy"
    with np.load(MEASURED / "sonar0.npz") as stored:
        np.save(path, stored["points"])
    return str(path)


def _predict(points: str, *, pins: dict[str, int], bev_input: str, compression: str) -> Any:
    """The simulated memory of a measured row."""
    options = InspectOptions(
        device="meta",
        points=(points,),
        optimizer="adamw",
        overrides=(f"MODEL.MAP_TO_BEV.INPUT={bev_input}",),
        pins=pins,
    )
    source = BuiltIn.read(CONFIG, options).reduced(compression)
    trace = source.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED]
    target = make_target(torch="2.11.0", gpu="h200", cudnn="9.19")
    return trace, simulate(trace.stream, target, until_oom=False)


@pytest.mark.parametrize("name", ROWS)
def test_the_measured_peak_is_predicted_within_half_a_percent(points: str, name: str) -> None:
    row = ROWS[name]
    trace, profile = _predict(
        points,
        pins=row["kept_voxels"],
        bev_input=row["bev_reads"],
        compression=row["height_compression"],
    )
    assert trace.params_by_module["total"] == row["params"]
    assert profile.peak.allocated_bytes == pytest.approx(row["peak_allocated_bytes"], rel=0.005)


@pytest.mark.skipif(not TRUTH.exists(), reason="the measured rows are not beside the repository")
@pytest.mark.parametrize("name", TRUTH_ROWS)
def test_the_reference_rows_are_predicted_within_five_percent(points: str, name: str) -> None:
    row = json.loads(TRUTH.read_text())[name]
    mode = "sparse_max" if row["height_compression"].startswith("sparse") else None
    trace, profile = _predict(
        points,
        pins={SITE: TRUTH_KEPT},
        bev_input=row["bev_reads"],
        compression=mode or row["height_compression"],
    )
    assert trace.params_by_module == {"total": row["params"], **row["params_by_module"]}
    first = profile.first_step
    assert first is not None
    assert first.allocated_bytes == pytest.approx(row["first_step_peak_allocated_bytes"], rel=0.005)
    assert profile.peak.allocated_bytes == pytest.approx(row["peak_allocated_bytes"], rel=0.05)
