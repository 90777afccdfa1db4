"""Measure on the GPU at hand what the focal encoder keeps from step to step.

    python benchmarks/measure_focal_steps.py OUT.json

Writes rows as they stand in tests/data/focal_steps_h200.json: the shipped detector with weights
drawn on the CPU, synthetic boxes and plain AdamW at PyTorch's own learning rate.
"""

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from focal_steps import cloud_file

from bevdiag import sparse
from bevdiag.config import DetectorConfig, load_config
from bevdiag.memory.events import Phase
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth
from bevdiag.models.builder import build_detector
from bevdiag.models.interfaces import compression_changes
from bevdiag.scenes.batch import make_batch
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.training_step import cuda_step

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "focalsst_dsvt.yaml"
NUM_STEPS = 4
LEARNING_RATE = 1e-3
CLIP_NORM = 10
_NAMES = {Phase.FORWARD: "fwd", Phase.BACKWARD: "bwd", Phase.OPTIMIZER: "step"}


def runs() -> Iterator[dict[str, Any]]:
    """Seed 0 in all variants, with other boxes, autocasts and batch sizes; then other seeds."""
    plain = {"seed": 0, "batch_size": 1, "autocast": "off", "boxes": 8, "boxes_seed": 0}
    for bev_input in ("encoder", "dsvt"):
        wired = {**plain, "bev_reads": bev_input}
        for compression in ("max", "sparse_max", "none"):
            yield {**wired, "height_compression": compression}
        sparse_max = {**wired, "height_compression": "sparse_max"}
        yield {**sparse_max, "boxes_seed": 1}
        yield {**sparse_max, "autocast": "bf16"}
        yield {**sparse_max, "batch_size": 2}
        for seed in range(1, 9):
            yield {**sparse_max, "seed": seed}


def measure(run: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Measure counts by site and step, and what each phase of each step allocated at most."""
    config = load_config(CONFIG, (f"MODEL.MAP_TO_BEV.INPUT={run['bev_reads']}",))
    config = config.edited(compression_changes(config, run["height_compression"]))
    batch = real_batch(_batch(config, run), device)
    torch.manual_seed(run["seed"])
    arguments = config.model, config.data, config.class_names
    spconv = sparse.namespace("cuda")
    drawn = build_detector(*arguments, spconv=spconv, device="cpu")
    model = build_detector(*arguments, spconv=spconv, device=device)
    model.load_state_dict(drawn.state_dict())
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.ones(1, 1, device=device) @ torch.ones(1, 1, device=device)
    kept: dict[str, int] = {}
    steps = []
    for step in range(1, NUM_STEPS + 1):
        steps.append(_step(model, batch, optimizer, run["autocast"]))
        for path, module in model.named_modules():
            if isinstance(module, VoxelGrowth):
                kept[f"{path}.kept_voxels@{step}"] = module.num_kept
    return {
        **run,
        "learning_rate": LEARNING_RATE,
        "params": sum(p.numel() for p in model.parameters()),
        "kept_voxels": kept,
        "steps": steps,
        "first_step_peak_allocated_bytes": max(steps[0].values()),
        "peak_allocated_bytes": max(max(step.values()) for step in steps[1:]),
        "max_reserved_bytes": torch.cuda.memory_reserved(device),
        "gpu": torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "cudnn": str(torch.backends.cudnn.version()),
    }


def _batch(config: DetectorConfig, run: dict[str, Any]) -> Any:
    data = config.data
    samples = []
    for sample in range(run["batch_size"]):
        with np.load(cloud_file(sample)) as stored:
            samples.append(stored["points"])
    return make_batch(
        samples,
        point_cloud_range=data.point_cloud_range,
        voxel_size=data.voxel_size,
        grid_size=data.grid_size,
        max_points=data.max_points_per_voxel,
        max_voxels=data.max_voxels,
        num_boxes=run["boxes"],
        num_classes=len(config.class_names),
        seed=run["boxes_seed"],
        source="tests/data",
    )


def _step(
    model: torch.nn.Module, batch: dict[str, Any], optimizer: torch.optim.Optimizer, autocast: str
) -> dict[str, int]:
    """Most allocated in each phase."""
    peaks = {}
    step = cuda_step(model, batch, optimizer, autocast=autocast, max_norm=CLIP_NORM)
    for phase in step.ended():
        peaks[_NAMES[phase]] = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    return peaks


def main(out: Path) -> None:
    """Measure all runs."""
    rows = {}
    for run in runs():
        name = "_".join(map(str, run.values()))
        rows[name] = measure(run, torch.device("cuda"))
        print(name, list(rows[name]["kept_voxels"].values()), flush=True)
        out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
