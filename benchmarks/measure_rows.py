"""Measure training steps of built-in detectors on the GPU at hand, beside their predictions.

    python benchmarks/measure_rows.py OUT.json CFGS

CFGS is a folder of OpenPCDet's configs (tools/cfgs). Each row is one config at one batch size and
precision on a synthetic scene (seed 0), AdamW, three steps; nothing of it was used to make bevdiag.
"""

import json
import sys
from pathlib import Path
from typing import Any

from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction

SHIPPED = Path(__file__).parents[1] / "configs" / "focalsst_dsvt.yaml"

ROWS = (
    ("kitti_models/second.yaml", 2, "off"),
    ("kitti_models/second.yaml", 6, "bf16"),
    ("kitti_models/pointpillar.yaml", 2, "off"),
    ("kitti_models/pointpillar.yaml", 3, "fp16"),
    ("waymo_models/second.yaml", 2, "off"),
    ("waymo_models/centerpoint.yaml", 3, "bf16"),
    ("waymo_models/centerpoint_without_resnet.yaml", 2, "off"),
    ("waymo_models/centerpoint_pillar_1x.yaml", 2, "off"),
    ("waymo_models/centerpoint_dyn_pillar_1x.yaml", 2, "off"),
    ("waymo_models/pointpillar_1x.yaml", 2, "off"),
    ("waymo_models/dsvt_pillar.yaml", 2, "off"),
    ("nuscenes_models/cbgs_dyn_pp_centerpoint.yaml", 2, "off"),
    ("nuscenes_models/cbgs_voxel01_res3d_centerpoint.yaml", 3, "off"),
    ("once_models/centerpoint.yaml", 2, "off"),
    ("once_models/pointpillar.yaml", 2, "off"),
)

_STAGES = 4
_DSVT = "MODEL.BACKBONE_3D.DSVT"
HEIGHT_STAGES = (
    f"{_DSVT}.INPUT_LAYER.d_model={[128] * _STAGES}",
    f"{_DSVT}.INPUT_LAYER.set_info={[[36, 1]] * _STAGES}",
    f"{_DSVT}.INPUT_LAYER.downsample_stride=[[1, 1, 5], [1, 1, 5], [1, 1, 7]]",
    f"{_DSVT}.INPUT_LAYER.window_shape=[[25, 20, 175], [25, 20, 35], [25, 20, 7], [25, 20, 1]]",
    f"{_DSVT}.INPUT_LAYER.shifts_list={[[[0, 0, 0], [10, 12, 0]]] * _STAGES}",
    f"{_DSVT}.d_model={[128] * _STAGES}",
    f"{_DSVT}.set_info={[[36, 1]] * _STAGES}",
    f"{_DSVT}.block_name=[DSVTBlock, DSVTBlock, DSVTBlock, DSVTBlock]",
    f"{_DSVT}.nhead={[8] * _STAGES}",
    f"{_DSVT}.dim_feedforward={[256] * _STAGES}",
    "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES=128",
)
FEWER_POINTS = ("DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_POINTS_PER_VOXEL=5",)
CHECKPOINT = (f"{_DSVT}.ues_checkpoint=true",)

# name, overrides, autocast, budget in GiB: the remedies that are said to fit, within a card's size.
REMEDIES = (
    ("points+checkpoint+stages", (*FEWER_POINTS, *CHECKPOINT, *HEIGHT_STAGES), "off", 22.9),
    ("height stages", HEIGHT_STAGES, "off", None),
    ("bf16", (), "bf16", None),
)


def main(out: Path, configs: Path) -> None:
    """Measure all rows; OUT is rewritten after each."""
    rows: dict[str, Any] = {}
    for name, batch_size, autocast in ROWS:
        options = InspectOptions(
            device="cuda",
            optimizer="adamw",
            batch_size=batch_size,
            autocast=autocast,
            remedies=False,
        )
        keep(rows, out, f"{name}@{batch_size}@{autocast}", configs / name, options)
    for name, overrides, autocast, budget in REMEDIES:
        options = InspectOptions(
            device="cuda",
            optimizer="adamw",
            autocast=autocast,
            overrides=overrides,
            budget_bytes=int(budget * 2**30) if budget else None,
            remedies=False,
        )
        keep(rows, out, f"focalsst_dsvt: {name}", SHIPPED, options)


def keep(rows: dict[str, Any], out: Path, name: str, config: Path, options: InspectOptions) -> None:
    """Measure one row and write all that there are."""
    try:
        report = inspect(config, options, lambda what, share: None)
    except Exception as error:  # one row's failure must not cost the others their machine time
        print(name, "FAILED", type(error).__name__, error, flush=True)
        return
    rows[name] = row(report)
    print(name, rows[name], flush=True)
    out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def row(report: Prediction) -> dict[str, Any]:
    """Return what is kept of a report."""
    measured = report.measurement
    assert measured is not None
    return {
        "batch_size": report.scene.batch_size,
        "autocast": report.autocast,
        "num_voxels": report.scene.num_voxels,
        "params": report.params.total,
        "gpu": measured.gpu,
        "torch": measured.torch,
        "cudnn": measured.cudnn,
        "measured_peak_bytes": measured.peak_allocated_bytes,
        "measured_reserved_bytes": measured.peak_reserved_bytes,
        "predicted_peak_bytes": report.peak.allocated_bytes,
        "predicted_low_bytes": report.peak.low_bytes,
        "predicted_high_bytes": report.peak.high_bytes,
        "predicted_reserved_bytes": report.peak.reserved_bytes,
        "error_percent": measured.error_percent,
        "kept_voxels": measured.kept_voxels,
        "oom_message": measured.oom_message,
        "failure": measured.failure,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
