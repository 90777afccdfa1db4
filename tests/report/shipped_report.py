"""A report as `bevdiag inspect` would make it for the shipped model, built by hand."""

from dataclasses import replace
from pathlib import Path

from bevdiag.errors import Location
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Phase
from bevdiag.memory.profile import PhaseUse
from bevdiag.memory.verdict import GpuFit, Verdict
from bevdiag.prediction.result import (
    Assumption,
    FirstStep,
    Holder,
    Layer,
    OutOfMemory,
    Params,
    Peak,
    Plan,
    Prediction,
    Scene,
    TimelinePoint,
)
from bevdiag.rules.finding import Finding, Fix, Price, Severity

from .shipped_wiring import shipped_wiring

GIB = 2**30
FIRST_CONV = "backbone_2d.blocks.0.1"
KEPT = "backbone_3d.focal_encoder.kept_voxels"
TARGET = DeviceTarget(
    gpu="A100-80GB",
    capacity_bytes=85_094_367_232,
    torch="2.13.0",
    cudnn=(9, 1, 0),
    compute_capability=(8, 0),
    multiprocessors=132,
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
            FIRST_CONV,
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
            module=FIRST_CONV if allocated > 70 else "backbone_3d",
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
        module=FIRST_CONV,
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
                module=FIRST_CONV,
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
            module=FIRST_CONV,
        ),
    )


def _remedies() -> tuple[Plan, ...]:
    def remedy(
        name: str, title: str, changes: tuple[str, ...], loses: str, peak: float, bev: int
    ) -> Plan:
        members = name.split("+")
        return Plan(
            changes=tuple(
                Fix(
                    id=part,
                    group=part,
                    title=text,
                    price=Price.MODEL,
                    loses=loses,
                    unsafe="",
                    needs="",
                )
                for part, text in zip(members, (title, *members[1:]), strict=True)
            ),
            edits=dict(change.split(": ", 1) for change in changes),
            verdict=Verdict.FITS if peak < 60 else Verdict.OVER,
            peak_allocated_bytes=round(peak * GIB),
            high_bytes=round(peak * GIB),
            reserved_bytes=round(peak * 1.27 * GIB),
            params=6_508_810,
            bev_channels=bev,
        )

    mode = "MODEL.MAP_TO_BEV.MODE: "
    failed = replace(
        remedy("strides-3d", "3D strides before the BEV map", ("a: b",), "height detail", 1, 128),
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
            (f"{mode}sparse_max", "MODEL.BACKBONE_3D.DSVT.USE_CHECKPOINT: true"),
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


def shipped_report() -> Prediction:
    """The shipped model on a card that it does not fit."""
    return Prediction(
        config="configs/focalsst_dsvt.yaml",
        model="CenterPoint",
        target=TARGET,
        device="meta",
        autocast="off",
        optimizer="adamw",
        scene=_SCENE,
        params=Params(
            total=32_166_154,
            modules={
                "vfe": 13_312,
                "backbone_3d": 1_580_032,
                "map_to_bev": 0,
                "backbone_2d": 30_086_656,
                "dense_head": 486_154,
            },
            without_grad=1_201_152,
        ),
        bev_channels=22400,
        peak=_peak(),
        first_step=FirstStep(peak_allocated_bytes=round(74.1 * GIB)),
        phases={
            phase.value: PhaseUse(
                phase=phase, peak_allocated_bytes=round(peak * GIB), allocated_after_bytes=after
            )
            for phase, peak, after in (
                (Phase.FORWARD, 74.8, 58 * GIB),
                (Phase.BACKWARD, 66.4, GIB),
                (Phase.OPTIMIZER, 1, GIB * 4 // 5),
            )
        },
        timeline=_timeline(),
        layers=_layers(),
        assumptions=(
            Assumption(
                site=KEPT,
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
            module=FIRST_CONV,
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
        recommended=_remedies()[2],
        wiring=shipped_wiring(),
    )
