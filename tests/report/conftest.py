"""Reports of every kind, built by hand, and the texts that they were once seen to give."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.errors import ExitCode, Location
from bevdiag.memory.events import Phase
from bevdiag.memory.profile import PhaseUse
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Check
from bevdiag.prediction.result import CompareReport, ConfigReport, Measurement, Prediction, Variant
from bevdiag.rules.finding import Finding, Severity, Silencing

from .shipped_report import FIRST_CONV, GIB, KEPT, TARGET, shipped_report

HOSTILE = "a::error::b%0A\n\r, @user <img> |x| [l](u) \x1b[2J\u202e`c` </testsuite>"
_GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def over() -> Prediction:
    """The shipped model on a GPU that it does not fit."""
    return shipped_report()


@pytest.fixture
def measured(over: Prediction) -> Prediction:
    """The same, run on a GPU that it fits, without a named budget."""
    modules = {"backbone_3d": 52 * GIB, "backbone_2d": 74 * GIB}
    return replace(
        over,
        device="cuda",
        verdict=Verdict.NO_BUDGET,
        oom=None,
        findings=(),
        remedies=(),
        target=replace(TARGET, gpu=None, capacity_bytes=None),
        measurement=Measurement(
            gpu="NVIDIA H200",
            torch="2.11.0+cu130",
            cudnn="9.19",
            peak_allocated_bytes=round(75.2 * GIB),
            peak_reserved_bytes=round(96.1 * GIB),
            error_percent=-0.5,
            phases={
                "forward": PhaseUse(
                    phase=Phase.FORWARD,
                    peak_allocated_bytes=round(75.2 * GIB),
                    allocated_after_bytes=58 * GIB,
                ),
            },
            modules=modules,
            predicted_modules={"backbone_3d": 51 * GIB},
            context_bytes=619 * 2**20,
            other_processes=("python (pid 4711): 2.00 GiB",),
            kept_voxels={KEPT: 464_367},
        ),
    )


@pytest.fixture
def compared(over: Prediction) -> CompareReport:
    """Three ways to the BEV map, one of which could not be traced."""
    base = Variant(
        compression="none",
        batch_size=1,
        autocast="off",
        bev_channels=22400,
        params=32_166_154,
        peak_allocated_bytes=round(74.8 * GIB),
        high_bytes=round(74.8 * GIB),
        reserved_bytes=round(95.5 * GIB),
        largest_request_bytes=80_640_000_000,
        largest_request_module=FIRST_CONV,
        difference_bytes=0,
        verdict=Verdict.OVER,
        fitting=("H200", "B200"),
    )
    smaller = replace(
        base,
        compression="max",
        bev_channels=128,
        params=6_508_810,
        peak_allocated_bytes=67 * GIB,
        high_bytes=67 * GIB,
        reserved_bytes=round(86.4 * GIB),
        largest_request_bytes=9_085_952_000,
        largest_request_module="map_to_bev",
        difference_bytes=67 * GIB - round(74.8 * GIB),
    )
    failed = Variant(
        compression="learned",
        batch_size=2,
        autocast="off",
        bev_channels=None,
        params=None,
        peak_allocated_bytes=None,
        high_bytes=None,
        reserved_bytes=None,
        largest_request_bytes=None,
        largest_request_module="",
        difference_bytes=None,
        verdict=Verdict.UNKNOWN,
        fitting=(),
        error="INPUT_FEATURES is missing",
    )
    return CompareReport(
        config=over.config,
        target=over.target,
        scene=over.scene,
        variants=(base, smaller, failed),
        assumptions=over.assumptions,
    )


@pytest.fixture
def checks(over: Prediction) -> tuple[Check, ...]:
    """A config of every outcome."""
    silenced = replace(
        over.findings[-1], silenced=Silencing("known", Location(Path("configs/a.yaml"), 3, 1))
    )
    fits = replace(over, config="configs/fits.yaml", verdict=Verdict.FITS, oom=None, findings=())
    return (
        Check(config=over.config, report=replace(over, silenced=(silenced,))),
        Check(config="configs/fits.yaml", report=fits),
        Check(config="configs/depends.yaml", report=replace(fits, verdict=Verdict.DEPENDS)),
        Check(
            config="configs/broken.yaml",
            report=ConfigReport(config="configs/broken.yaml", findings=over.findings[:1]),
        ),
        Check(
            config="configs/absent.yaml",
            failure="configs/absent.yaml: no such file",
            failure_code=ExitCode.USAGE,
        ),
    )


@pytest.fixture
def hostile() -> tuple[Check, ...]:
    """A config whose every name is made to break out of a format."""
    finding = Finding(code="BEV004", severity=Severity.ERROR, message=HOSTILE, module=HOSTILE)
    return (Check(config=HOSTILE, report=ConfigReport(config=HOSTILE, findings=(finding,))),)


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a text with the file of that name; BEVDIAG_WRITE_GOLDEN=1 writes it instead."""

    def check(name: str, text: str) -> None:
        path = _GOLDEN / name
        if os.environ.get("BEVDIAG_WRITE_GOLDEN") == "1":
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check
