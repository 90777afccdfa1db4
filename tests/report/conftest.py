"""A report as `bevdiag inspect` would make it for the shipped model, built by hand."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.diagnose.checked import Check
from bevdiag.diagnose.joints import DeadBranch, Joint, WiringReport
from bevdiag.diagnose.memory_use import (
    Holder,
    Layer,
    Measurement,
    OutOfMemory,
    Peak,
    PhasePeak,
    TimelinePoint,
)
from bevdiag.diagnose.result import (
    Assumption,
    ConfigReport,
    Finding,
    GpuFit,
    InspectReport,
    Remedy,
    Scene,
    Severity,
    Silenced,
    Target,
    Verdict,
)
from bevdiag.diagnose.variants import CompareReport, Variant
from bevdiag.errors import ExitCode, Location

GIB = 2**30
HOSTILE = "a::error::b%0A\n\r, @user <img> |x| [l](u) \x1b[2J\u202e`c` </testsuite>"
_GOLDEN = Path(__file__).parent / "golden"
_FIRST_CONV = "backbone_2d.blocks.0.1"
_KEPT = "backbone_3d.focal_encoder.kept_voxels"
_TARGET = Target(
    gpu="A100-80GB",
    capacity_bytes=85_094_367_232,
    torch="2.13.0",
    cudnn="9.1",
    compute_capability="8.0",
)
_SCENE = Scene(
    source="synthetic sonar, seed 0",
    batch_size=1,
    num_points=120_000,
    num_voxels=37_808,
    grid_size=(4016, 1616, 1400),
)


def _layer(
    name: str,
    kind: str,
    channels: tuple[int | None, int | None],
    shape: tuple[int, ...] | None,
    params: int,
    sizes: tuple[float, float, float],
    has_children: bool = False,
) -> Layer:
    saved, peak, workspace = (round(size * GIB) for size in sizes)
    return Layer(
        name=name,
        type=kind,
        depth=name.count("."),
        in_channels=channels[0],
        out_channels=channels[1],
        output_shape=shape,
        params=params,
        saved_bytes=saved,
        peak_bytes=peak,
        workspace_bytes=workspace,
        has_children=has_children,
    )


def _layers() -> tuple[Layer, ...]:
    encoder, dsvt = "backbone_3d.focal_encoder", "backbone_3d.dsvt"
    kept, bev = 464_367, (1, 22400, 202, 502)
    return (
        _layer("vfe", "SDAVFE", (10, 128), (37_808, 128), 13_312, (1.13, 1.73, 0), True),
        _layer("vfe.pfn", "Linear", (10, 64), (37_808, 32, 64), 640, (0.29, 1.02, 0)),
        _layer("backbone_3d", "FocalDSVT", (128, 128), None, 1_580_032, (39.2, 52.1, 0.2), True),
        _layer(
            encoder, "FocalSparseEncoder", (128, 128), (kept, 128), 378_880, (2.9, 8.2, 0.2), True
        ),
        _layer(
            f"{encoder}.conv_focal", "SubMConv3d", (64, 128), (kept, 128), 221_184, (0.8, 6.1, 0)
        ),
        _layer(dsvt, "DSVT", (128, 128), (kept, 128), 1_201_152, (36.3, 52.1, 0), True),
        _layer(
            f"{dsvt}.stage_0.0.encoder_list.0",
            "DSVT_EncoderLayer",
            (128, 128),
            (kept, 128),
            198_272,
            (4.1, 22.7, 0),
        ),
        _layer("map_to_bev", "HeightCompression", (128, 22400), bev, 0, (8.46, 60.2, 0)),
        _layer(
            "backbone_2d",
            "BaseBEVBackbone",
            (22400, 512),
            (1, 512, 200, 500),
            30_086_656,
            (9.3, 143.9, 75.1),
            True,
        ),
        _layer(
            "backbone_2d.blocks.0",
            "Sequential",
            (22400, 128),
            (1, 128, 200, 500),
            26_547_712,
            (8.9, 143.9, 75.1),
            True,
        ),
        _layer(
            _FIRST_CONV,
            "Conv2d",
            (22400, 128),
            (1, 128, 200, 500),
            25_804_800,
            (8.46, 143.9, 75.1),
        ),
        _layer("dense_head", "CenterHead", (512, None), None, 486_154, (1.2, 62.0, 0.4), True),
    )


def _timeline() -> tuple[TimelinePoint, ...]:
    def point(phase: str, allocated: float, reserved: float) -> TimelinePoint:
        return TimelinePoint(
            phase=phase,
            module=_FIRST_CONV if allocated > 70 else "backbone_3d",
            allocated_bytes=round(allocated * GIB),
            reserved_bytes=round(reserved * GIB),
        )

    forward = [point("forward", 0.5 + 58 * i / 600, 0.7 + 62 * i / 600) for i in range(600)]
    forward[480] = point("forward", 74.8, 76.0)
    backward = [point("backward", 58 - 57 * i / 900, 78) for i in range(900)]
    optimizer = [point("optimizer", 0.8 + (i % 3) * 0.1, 78) for i in range(40)]
    return (*forward, *backward, *optimizer)


def _peak() -> Peak:
    return Peak(
        allocated_bytes=round(74.8 * GIB),
        low_bytes=round(41.35 * GIB),
        high_bytes=round(74.8 * GIB),
        reserved_bytes=round(95.5 * GIB),
        high_reserved_bytes=round(95.5 * GIB),
        phase="forward",
        module=_FIRST_CONV,
        op="aten::convolution",
        holders=(
            Holder(
                nbytes=9_085_952_000,
                category="activation",
                module="map_to_bev",
                op="spconv::dense",
                shape=(1, 128, 175, 202, 502),
                dtype="float32",
            ),
            Holder(
                nbytes=237_755_904 * 12,
                category="activation",
                module="backbone_3d.dsvt.stage_0.0.encoder_list.0",
                op="aten::index",
                shape=(464_367, 128),
                dtype="float32",
                count=12,
            ),
            Holder(
                nbytes=103_219_200,
                category="parameter",
                module=_FIRST_CONV,
                op="load",
                shape=(128, 22400, 3, 3),
                dtype="float32",
            ),
        ),
        by_category={
            "parameter": 128_664_616,
            "gradient": 128_664_616,
            "optimizer state": 257_329_232,
            "activation": round(65.7 * GIB),
            "workspace": round(8.6 * GIB),
            "rulebook": 0,
        },
    )


def _findings() -> tuple[Finding, ...]:
    return (
        Finding(
            code="BEV502",
            severity=Severity.INFO,
            message="Recomputing the DSVT blocks would free 31.20 GiB.",
            module="backbone_3d.dsvt",
        ),
        Finding(
            code="BEV203",
            severity=Severity.ERROR,
            message=(
                "Flattening the height makes 22,400 channels, and the first 2D convolution reads "
                "them all."
            ),
            detail=(
                "128 channels x 175 heights = 22,400 BEV channels; "
                "22,400 x 128 x 3 x 3 = 25,804,800 weights.",
                "22,400 x 202 x 502 = 2,271,449,600 elements exceed 2^31 - 1, so cuDNN before 9.3 "
                "cannot take the convolution and the im2col buffer is asked for: "
                "22,400 x 9 x 100,000 x 4 B = 75.10 GiB.",
            ),
            key="MODEL.MAP_TO_BEV.NUM_BEV_FEATURES",
            location=Location(Path("configs/focalsst_dsvt.yaml"), 87, 5),
            module=_FIRST_CONV,
        ),
    )


def _wiring() -> WiringReport:
    encoder, dsvt, mapper = "backbone_3d.focal_encoder", "backbone_3d.dsvt", "map_to_bev"
    voxels = Joint(
        key="voxels",
        written_by=None,
        computed_by="",
        shape=(37_808, 128, 4),
        channels=4,
        declared=None,
        read_by=("vfe",),
        is_read=True,
        replaced_by=None,
    )
    volume = Joint(
        key="encoded_spconv_tensor",
        written_by=encoder,
        computed_by=f"{encoder}.conv_focal",
        shape=(464_367, 128),
        channels=128,
        declared=128,
        read_by=("backbone_3d", mapper),
        is_read=True,
        replaced_by=None,
    )
    unread = replace(
        volume, key="voxel_features", written_by=dsvt, computed_by=dsvt, read_by=(), is_read=False
    )
    bev_map = replace(
        volume,
        key="spatial_features",
        written_by=mapper,
        computed_by=mapper,
        shape=(1, 22400, 200, 500),
        channels=22400,
        declared=256,
        read_by=("backbone_2d",),
    )
    return WiringReport(
        joints=(voxels, volume, unread, bev_map),
        bev_map=bev_map,
        bev_sources=(volume,),
        dead_branches=(
            DeadBranch(
                path=dsvt,
                params=1_201_152,
                leads_to=("voxel_features",),
                reason=f"nothing reads voxel_features after it; {mapper} makes the BEV map of "
                f"encoded_spconv_tensor of {encoder}",
            ),
        ),
    )


def _remedies() -> tuple[Remedy, ...]:
    def remedy(
        name: str, title: str, changes: tuple[str, ...], loses: str, peak: float, bev: int
    ) -> Remedy:
        return Remedy(
            id=name,
            title=title,
            changes=changes,
            loses=loses,
            verdict=Verdict.FITS if peak < 60 else Verdict.OVER,
            peak_allocated_bytes=round(peak * GIB),
            high_bytes=round(peak * GIB),
            reserved_bytes=round(peak * 1.27 * GIB),
            params=6_508_810,
            bev_channels=bev,
            combined="+" in name,
        )

    mode = "MODEL.MAP_TO_BEV.MODE: none -> "
    failed = replace(
        remedy("strides-3d", "3D strides before the BEV map", ("a",), "height detail", 1, 128),
        verdict=Verdict.UNKNOWN,
        peak_allocated_bytes=None,
        high_bytes=None,
        reserved_bytes=None,
        params=None,
        bev_channels=None,
        error="the depth collapses to zero",
    )
    return (
        remedy(
            "sparse_max+checkpoint",
            "maximum on the sparse tensor, DSVT blocks recomputed",
            (f"{mode}sparse_max", "MODEL.BACKBONE_3D.DSVT.USE_CHECKPOINT: False -> True"),
            "height detail; about a third more compute",
            21.4,
            128,
        ),
        remedy(
            "max",
            "maximum over the height",
            (f"{mode}max",),
            "which height a feature came from; the dense tensor is still built",
            67.0,
            128,
        ),
        remedy(
            "sparse_max",
            "maximum on the sparse tensor",
            (f"{mode}sparse_max",),
            "which height a feature came from",
            53.9,
            128,
        ),
        failed,
    )


@pytest.fixture
def over() -> InspectReport:
    """The shipped model on a card that it does not fit."""
    return InspectReport(
        config="configs/focalsst_dsvt.yaml",
        model="CenterPoint",
        target=_TARGET,
        device="meta",
        autocast="off",
        optimizer="adamw",
        scene=_SCENE,
        params_total=32_166_154,
        params_by_module={
            "vfe": 13_312,
            "backbone_3d": 1_580_032,
            "map_to_bev": 0,
            "backbone_2d": 30_086_656,
            "dense_head": 486_154,
        },
        params_without_grad=1_201_152,
        bev_channels=22400,
        peak=_peak(),
        first_step_peak_bytes=round(74.1 * GIB),
        phases=(
            PhasePeak(
                phase="forward",
                peak_allocated_bytes=round(74.8 * GIB),
                allocated_after_bytes=58 * GIB,
            ),
            PhasePeak(
                phase="backward", peak_allocated_bytes=round(66.4 * GIB), allocated_after_bytes=GIB
            ),
            PhasePeak(
                phase="optimizer", peak_allocated_bytes=GIB, allocated_after_bytes=GIB * 4 // 5
            ),
        ),
        timeline=_timeline(),
        layers=_layers(),
        assumptions=(
            Assumption(
                site=_KEPT,
                low=95_210,
                expected=230_144,
                high=464_367,
                used=464_367,
                why=(
                    "the importance convolution decides by values which voxels grow; five seeds "
                    "of its weights were run"
                ),
            ),
        ),
        verdict=Verdict.OVER,
        oom=OutOfMemory(
            requested_bytes=80_640_000_000,
            module=_FIRST_CONV,
            phase="forward",
            step=1,
            what="the im2col columns of one sample",
            message=(
                "CUDA out of memory. Tried to allocate 75.10 GiB. GPU 0 has a total capacity of "
                "79.25 GiB of which 16.62 GiB is free."
            ),
        ),
        gpus=tuple(
            GpuFit(gpu=name, capacity_bytes=round(gib * GIB), verdict=verdict)
            for name, gib, verdict in (
                ("T4", 14.56, Verdict.OVER),
                ("RTX 3090", 23.5, Verdict.OVER),
                ("RTX 4090", 23.5, Verdict.OVER),
                ("L40S", 44.4, Verdict.OVER),
                ("A100-80GB", 79.25, Verdict.OVER),
                ("H200", 139.8, Verdict.DEPENDS),
                ("B200", 178.4, Verdict.FITS),
            )
        ),
        findings=_findings(),
        remedies=_remedies(),
        wiring=_wiring(),
    )


@pytest.fixture
def measured(over: InspectReport) -> InspectReport:
    """The same, run on a GPU that it fits, without a named budget."""
    modules = {"backbone_3d": 52 * GIB, "backbone_2d": 74 * GIB}
    return replace(
        over,
        device="cuda",
        verdict=Verdict.NO_BUDGET,
        oom=None,
        findings=(),
        remedies=(),
        target=replace(_TARGET, gpu=None, capacity_bytes=None),
        measurement=Measurement(
            gpu="NVIDIA H200",
            torch="2.11.0+cu130",
            cudnn="9.19",
            peak_allocated_bytes=round(75.2 * GIB),
            peak_reserved_bytes=round(96.1 * GIB),
            error_percent=-0.5,
            phases=(
                PhasePeak(
                    phase="forward",
                    peak_allocated_bytes=round(75.2 * GIB),
                    allocated_after_bytes=58 * GIB,
                ),
            ),
            modules=modules,
            predicted_modules={"backbone_3d": 51 * GIB},
            context_bytes=619 * 2**20,
            other_processes=("python (pid 4711): 2.00 GiB",),
            kept_voxels={_KEPT: 464_367},
        ),
    )


@pytest.fixture
def compared(over: InspectReport) -> CompareReport:
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
        largest_request_module=_FIRST_CONV,
        difference_bytes=0,
        verdict=Verdict.OVER,
        fits=("H200", "B200"),
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
        fits=(),
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
def checks(over: InspectReport) -> tuple[Check, ...]:
    """A config of every outcome."""
    silenced = Silenced(over.findings[-1], "known", Location(Path("configs/a.yaml"), 3, 1))
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
