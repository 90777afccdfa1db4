"""Reports as `bevdiag fix` and `bevdiag fit` would make them, built by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Plan, Scene
from bevdiag.remedies.results import Advice, FitPoint, FitReport, FixReport
from bevdiag.report.printable import Layout
from bevdiag.report.text.prose import Page
from bevdiag.rules.finding import Fix, Price

GIB = 2**30


def written(
    write: Callable[..., None], *given: object, layout: Layout | None = None, **options: object
) -> list[str]:
    """The lines that a function writes on a page, without their styles."""
    page = Page(layout or Layout())
    write(page, *given, **options)
    return [line.plain for line in page.lines]


_TARGET = DeviceTarget(
    gpu="rtx4090",
    capacity_bytes=23 * GIB,
    torch="2.13.0",
    cudnn=(9, 1, 0),
    compute_capability=(8, 9),
    multiprocessors=132,
)
_SCENE = Scene(
    source="synthetic sonar, seed 0",
    batch_size=1,
    num_points=39_284,
    num_voxels=37_162,
    grid_size=(500, 200, 175),
)
_CHECKPOINT = Fix(
    id="dsvt-checkpoint",
    group="checkpoint",
    title="activation checkpointing of the DSVT blocks",
    price=Price(1),
    loses="time: DSVT's blocks run forward twice",
    unsafe="",
    needs="",
)
_SPARSE_MAX = Fix(
    id="compression-sparse_max",
    group="height",
    title="sparse_max compression of the height",
    price=Price.MODEL,
    loses="the same map as max, without the dense volume",
    unsafe="",
    needs="MAP_TO_BEV's SparseHeightCompression, which OpenPCDet lacks",
)
_VOXEL = Fix(
    id="voxel-z-5",
    group="voxel-z",
    title="voxels 5 times as long along z: a grid of 500 x 200 x 35",
    price=Price(4),
    loses="resolution along z",
    unsafe="moves the grid that the voxels and the predictions stand on",
    needs="",
)
_DIFF = """\
--- a/model.yaml
+++ b/model.yaml
@@ -1,2 +1,3 @@
 MODEL:
-  NAME: HeightCompression # the dense one
+  NAME: SparseHeightCompression # the dense one
+  MODE: sparse_max
"""


def _plan(changes: tuple[Fix, ...], peak: float, high: float, tflops: float) -> Plan:
    return Plan(
        changes=changes,
        edits={"MODEL.MAP_TO_BEV.MODE": "sparse_max"} if _SPARSE_MAX in changes else {},
        verdict=Verdict.FITS if high <= 23 else Verdict.OVER,
        peak_allocated_bytes=round(peak * GIB),
        high_bytes=round(high * GIB),
        reserved_bytes=round(peak * 1.1 * GIB),
        params=32_166_154,
        flops=round(tflops * 10**12),
        bev_channels=128,
    )


@pytest.fixture
def fixed() -> FixReport:
    """Two changes together fit, neither does alone."""
    base = _plan((), 60.97, 90.5, 19.42)
    failed = Plan(
        changes=(_VOXEL,), edits={}, verdict=Verdict.UNKNOWN, error="the depth collapses to zero"
    )
    singles = (
        failed,
        _plan((_SPARSE_MAX,), 37.44, 69.68, 4.02),
        _plan((_CHECKPOINT,), 43.05, 51.39, 20.12),
    )
    both = _plan((_SPARSE_MAX, _CHECKPOINT), 17.2, 22.11, 4.73)
    return FixReport(
        config="model.yaml",
        target=_TARGET,
        scene=_SCENE,
        base=base,
        singles=singles,
        combined=(both,),
        frontier=(base, singles[2], both),
        chosen=both,
        diff=_DIFF,
        advice=(
            Advice(
                id="expandable-segments",
                title="segments that grow instead of new ones",
                how="PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment",
                verdict=Verdict.FITS,
                reserved_bytes=18 * GIB,
            ),
            Advice(
                id="gradient-accumulation",
                title="fewer samples a step and the gradients of several steps summed",
                how="optimizer.step() after every n-th backward pass",
            ),
        ),
    )


@pytest.fixture
def hopeless(fixed: FixReport) -> FixReport:
    """Nothing that was traced fits."""
    over = replace(fixed.combined[0], verdict=Verdict.OVER, high_bytes=30 * GIB)
    return replace(fixed, combined=(over,), chosen=None, diff="")


@pytest.fixture
def fitted() -> FitReport:
    """Four samples fit, five do not."""
    peaks = {1: (4.5, 6.1), 2: (8.2, 11.3), 4: (15.8, 21.9), 5: (19.6, 27.2), 8: (31.0, 43.2)}
    points = tuple(
        FitPoint(
            value=value,
            verdict=Verdict.FITS if high < 23 else Verdict.DEPENDS if peak < 23 else Verdict.OVER,
            peak_allocated_bytes=round(peak * GIB),
            high_bytes=round(high * GIB),
            reserved_bytes=round(high * GIB),
        )
        for value, (peak, high) in peaks.items()
    )
    return FitReport(
        config="model.yaml",
        target=_TARGET,
        scene=_SCENE,
        knob="batch",
        unit="samples a step",
        now=1,
        largest=4,
        binds_until=None,
        points=points,
    )
