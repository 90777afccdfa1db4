"""Needs a GPU and the real spconv; run by hand with `python -m pytest -m gpu`."""

from pathlib import Path

import pytest

from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions

CONFIG = Path(__file__).parents[2] / "configs" / "focalsst_dsvt.yaml"
GIB = 2**30


def nothing(what: str, share: float) -> None:
    assert 0 <= share <= 1


@pytest.mark.gpu
def test_the_measured_step_is_near_the_predicted_one() -> None:
    options = InspectOptions(
        device="cuda", optimizer="adamw", compression="sparse_max", remedies=False
    )
    report = inspect(CONFIG, options, nothing)
    measured = report.measurement
    assert measured is not None
    assert measured.failure is None
    assert measured.error_percent == pytest.approx(0, abs=1)
    assert measured.peak_allocated_bytes is not None
    assert measured.peak_allocated_bytes <= report.peak.high_bytes
    assert set(measured.phases) == {"forward", "backward", "optimizer"}
    assert measured.modules.keys() == measured.predicted_modules.keys()


@pytest.mark.gpu
def test_a_smaller_card_runs_out_where_it_is_said_to() -> None:
    options = InspectOptions(
        device="cuda",
        optimizer="adamw",
        compression="sparse_max",
        budget_bytes=12 * GIB,
        remedies=False,
    )
    report = inspect(CONFIG, options, nothing)
    measured = report.measurement
    assert measured is not None
    assert measured.oom_message is not None
    assert measured.oom_message.startswith("CUDA out of memory. Tried to allocate")
    assert report.oom is not None
    # The step of either stops in the voxel encoder, which needs more than that.
    assert report.oom.module.startswith("vfe")
