"""What the report is about, asked of the shipped configs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.rules.finding import Severity
from bevdiag.trace.kept_voxels import SITE

ROOT = Path(__file__).resolve().parents[2]
KEPT = 330_915
"""What one of the measured runs kept of this cloud."""


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sonar") / "sonar0.npy"
    with np.load(ROOT / "bevdiag" / "accuracy" / "measured" / "sonar0.npz") as stored:
        np.save(path, stored["points"])
    return str(path)


def _inspect(small: Any, points: str, config: str) -> Any:
    options = InspectOptions(
        device="meta",
        points=(points,),
        gpu="a100-80gb",
        cudnn="9.1",
        pins={SITE: KEPT},
        remedies=False,
    )
    return inspect(ROOT / "configs" / config, options, small.progress)


@pytest.mark.parametrize("config", ["focalsst_dsvt.yaml", "focalsst_dsvt_declared128.yaml"])
def test_the_reports_model_asks_for_75_gib_at_once(small: Any, points: str, config: str) -> None:
    report = _inspect(small, points, config)
    assert report.params.total == 32_166_154
    assert report.bev_channels == 22_400
    assert report.verdict is Verdict.OVER
    assert report.exit_code is ExitCode.FINDINGS
    assert report.oom.requested_bytes / 2**30 == pytest.approx(75.10, abs=0.005)
    assert report.oom.module.startswith("backbone_2d")
    assert "Tried to allocate 75.10 GiB" in report.oom.message
    errors = [f.code for f in report.findings if f.severity is Severity.ERROR]
    declared = ["BEV201"] if "128" in config else []
    assert errors == [*declared, "BEV203", "BEV301"]
