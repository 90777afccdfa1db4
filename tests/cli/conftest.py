"""A stub of the diagnosis: the commands' own work, without torch."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.history import History
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import (
    CompareReport,
    ConfigReport,
    FirstStep,
    OutOfMemory,
    Params,
    Peak,
    Prediction,
    Scene,
    Variant,
)
from bevdiag.rules.finding import Finding

_TARGET = DeviceTarget(
    gpu=None,
    capacity_bytes=None,
    torch="2.13.0",
    cudnn=(9, 1, 0),
    compute_capability=(9, 0),
    multiprocessors=132,
)
_STOP = OutOfMemory(
    requested_bytes=2**30, module="vfe", phase="forward", step=1, what="", message="out of memory"
)
_SCENE = Scene(
    source="synthetic sonar, seed 0",
    batch_size=1,
    num_points=10,
    num_voxels=5,
    grid_size=(4, 4, 4),
)


def inspect_report(verdict: Verdict = Verdict.NO_BUDGET) -> Prediction:
    return Prediction(
        config="model.yaml",
        model="CenterPoint",
        target=_TARGET,
        device="meta",
        autocast="off",
        optimizer="adamw",
        scene=_SCENE,
        params=Params(total=1, modules={"vfe": 1}, without_grad=0),
        bev_channels=128,
        peak=Peak(
            allocated_bytes=2**30,
            low_bytes=2**30,
            high_bytes=2**30,
            reserved_bytes=2**30,
            high_reserved_bytes=2**30,
            phase="forward",
            module="vfe",
            op="mm",
            holders=(),
            by_category={},
        ),
        first_step=FirstStep(peak_allocated_bytes=2**30),
        phases={},
        timeline=(),
        layers=(),
        assumptions=(),
        verdict=verdict,
        oom=_STOP if verdict is Verdict.OVER else None,
        gpus=(),
        findings=(),
        remedies=(),
    )


def compare_report(verdict: Verdict = Verdict.NO_BUDGET) -> CompareReport:
    variant = Variant(
        compression="none",
        batch_size=1,
        autocast="off",
        bev_channels=128,
        params=1,
        peak_allocated_bytes=2**30,
        high_bytes=2**30,
        reserved_bytes=2**30,
        largest_request_bytes=2**20,
        largest_request_module="vfe",
        difference_bytes=0,
        verdict=verdict,
        fitting=("T4",),
    )
    return CompareReport(
        config="/somewhere/model.yaml", target=_TARGET, scene=_SCENE, variants=(variant,)
    )


class Diagnosis:
    """What the commands asked for, and what they get: a verdict or an exception."""

    def __init__(self) -> None:
        self.verdict = Verdict.NO_BUDGET
        self.raises: BaseException | None = None
        self.config: Path | None = None
        self.options = InspectOptions()
        self.axes: tuple[Sequence[Any], ...] = ()
        self.snapshot: History | None = None
        self.faults: tuple[Finding, ...] = ()
        self.searches: Callable[[], object] = lambda: None

    def inspect(
        self,
        config: Path,
        options: InspectOptions,
        progress: Callable[[str, float], None],
        search: object = None,
        *,
        judged_so: Callable[[Prediction], None] | None = None,
    ) -> Prediction | ConfigReport:
        self._note(config, options, progress)
        if self.faults:
            return ConfigReport(config=str(config), findings=self.faults)
        report = replace(inspect_report(self.verdict), snapshot=self.snapshot)
        if self.verdict is Verdict.OVER and judged_so is not None:
            judged_so(report)
        self.searches()
        return report

    def compare(
        self,
        config: Path,
        options: InspectOptions,
        compressions: Sequence[str],
        batch_sizes: Sequence[int],
        autocasts: Sequence[str],
        progress: Callable[[str, float], None],
    ) -> CompareReport:
        self._note(config, options, progress)
        self.axes = (compressions, batch_sizes, autocasts)
        return compare_report(self.verdict)

    def _note(
        self, config: Path, options: InspectOptions, progress: Callable[[str, float], None]
    ) -> None:
        progress("tracing", 0.5)
        if self.raises is not None:
            raise self.raises
        self.config, self.options = config, options


@pytest.fixture
def diagnosis(monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    stub = Diagnosis()
    monkeypatch.setattr("bevdiag.cli.progress.PATIENCE_SECONDS", 1e9)
    for name in ("inspect", "compare"):
        module = ModuleType(f"bevdiag.prediction.{name}")
        setattr(module, name, getattr(stub, name))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return stub
