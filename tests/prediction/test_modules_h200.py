"""General modules as an H200 trained them: within 1 % of the peak, and inside the interval."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bevdiag.prediction.module import Module
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import predict

DATA = Path(__file__).parents[1] / "data"
ROWS = json.loads((DATA / "modules_h200.json").read_text("utf-8"))
LOOSE = {"residual_nhwc@bf16": 0.03}
"""Where a wrong guess of one workspace is much of a small peak."""


@pytest.fixture(scope="module")
def modules() -> Any:
    spec = importlib.util.spec_from_file_location("measured_modules", DATA / "modules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.MODULES


@pytest.mark.parametrize("row", ROWS)
def test_a_measured_module_is_reported_and_covered(row: str, modules: Any) -> None:
    reported = ROWS[row]
    case = modules[reported["name"].partition("@")[0]]()
    autocast = reported["autocast"].removesuffix("+kept")
    options = InspectOptions(gpu="h200", torch="2.11.0", autocast=autocast)
    kept = reported["output_kept"]
    report = predict(Module(case.model, case.inputs, case.loss, options, keeps_output=kept))
    seen = reported["peak_allocated_bytes"]
    assert sum(p.numel() for p in case.model.parameters()) == reported["params"]
    assert report.peak.allocated_bytes == pytest.approx(seen, rel=LOOSE.get(row, 0.01))
    assert report.peak.low_bytes <= seen <= report.peak.high_bytes
    first = reported["first_step_peak_allocated_bytes"]
    assert report.first_step.peak_allocated_bytes == pytest.approx(first, rel=LOOSE.get(row, 0.01))
