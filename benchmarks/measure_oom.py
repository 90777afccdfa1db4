"""Make training steps run out of memory on the GPU at hand, and note which module it was.

    python benchmarks/measure_oom.py OUT.json CFGS

CFGS is a folder of OpenPCDet's configs (tools/cfgs). Every case runs in a process of its own, in
a share of the reserved memory that is predicted for it, or, without a share, on the whole GPU. The
truth comes from the allocator's own observer: the module whose forward or backward pass asked.
"""

import json
import multiprocessing
import re
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bevdiag import sparse
from bevdiag.memory.simulate import simulate
from bevdiag.models.builder import build_detector
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.optimizers import build_optimizer
from bevdiag.trace.training_step import cuda_step

SHIPPED = "configs/focalsst_dsvt.yaml"
NUM_STEPS = 3
TOGETHER = 12
"""Processes at a time; the cards of all that are capped fit the GPU together."""


@dataclass(frozen=True)
class Case:
    """One training that will run out of memory; `share` of the predicted reserved bytes."""

    config: str
    batch_size: int
    autocast: str
    share: float | None
    compression: str | None = None


CASES = (
    Case("kitti_models/second.yaml", 4, "off", 0.5),
    Case("kitti_models/second.yaml", 4, "off", 0.9),
    Case("kitti_models/pointpillar.yaml", 4, "off", 0.8),
    Case("kitti_models/pointpillar.yaml", 4, "fp16", 0.4),
    Case("waymo_models/centerpoint.yaml", 3, "off", 0.65),
    Case("waymo_models/second.yaml", 2, "off", 0.35),
    Case("waymo_models/centerpoint_dyn_pillar_1x.yaml", 2, "off", 0.9),
    Case("waymo_models/dsvt_pillar.yaml", 2, "off", 0.5),
    Case("nuscenes_models/cbgs_voxel01_res3d_centerpoint.yaml", 3, "off", 0.8),
    Case("once_models/centerpoint.yaml", 3, "bf16", 0.65),
    Case(SHIPPED, 1, "off", 0.5, "max"),
    Case(SHIPPED, 1, "off", 0.3, "sparse_max"),
    Case(SHIPPED, 4, "off", None, "none"),
)


def main(out: Path, configs: Path) -> None:
    """Run all cases: those with a share side by side, those on the whole GPU alone."""
    rows: list[dict[str, Any]] = []
    context = multiprocessing.get_context("spawn")
    for cases, processes in (
        ([case for case in CASES if case.share is not None], TOGETHER),
        ([case for case in CASES if case.share is None], 1),
    ):
        # A fresh process each: what one leaves in the allocator must not meet the next.
        with ProcessPoolExecutor(processes, context, max_tasks_per_child=1) as pool:
            for row in pool.map(_row, cases, [configs] * len(cases)):
                print(row["config"], row.get("module"), row.get("message"), flush=True)
                rows.append(row)
                out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _row(case: Case, configs: Path) -> dict[str, Any]:
    try:
        return asdict(case) | _run(case, configs)
    except Exception as error:  # one case's failure must not cost the others their machine time
        return asdict(case) | {"failure": f"{type(error).__name__}: {error}"}


def _run(case: Case, configs: Path) -> dict[str, Any]:
    path = Path(case.config) if case.config == SHIPPED else configs / case.config
    options = InspectOptions(
        batch_size=case.batch_size,
        autocast=case.autocast,
        optimizer="adamw",
        compression=case.compression,
    )
    source = BuiltIn.read(path, options)
    capacity = None
    if case.share is not None:
        stream = source.record((Scenario.EXPECTED,)).traces[Scenario.EXPECTED].stream
        profile = simulate(stream, source.target(), until_oom=False)
        capacity = int(case.share * profile.max_reserved_bytes)
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(capacity / total, 0)
    facts = {
        "gpu": torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "capacity_bytes": capacity,
    }
    return facts | _train(source, source.batch(), capacity)


def _train(variant: Any, scene: Any, capacity: int | None) -> dict[str, Any]:
    """Train until memory runs out; which module asked, in which pass and step."""
    device = torch.device("cuda", 0)
    torch.manual_seed(0)
    config = variant.config
    asked: dict[str, Any] = {}
    where = {"step": 0, "phase": "load"}
    attribution: Attribution | None = None

    def observe(device: int, size: int, total: int, free: int) -> None:
        # An engine of cuDNN that does not fit passes here too; the last call is the failure.
        module = attribution.current_path() if attribution is not None else ""
        asked.update(where, module=module, requested_bytes=size)

    torch._C._cuda_attach_out_of_memory_observer(observe)
    try:
        model = build_detector(
            config.model,
            config.data,
            config.class_names,
            spconv=sparse.namespace("cuda"),
            device=device,
        ).train()
        optimizer = build_optimizer(model, config.optimization, variant.optimizer)
        torch.ones(1, 1, device=device) @ torch.ones(1, 1, device=device)
        batch = real_batch(scene, device)
        with Attribution(model) as attribution:
            for step in range(1, NUM_STEPS + 1):
                where.update(step=step)
                attribution.begin_step()
                _step(model, batch, optimizer, variant, where)
    except torch.OutOfMemoryError as error:
        message = str(error)
        return {**asked, "message": message, "traceback": _traceback(error)}
    return {"failure": f"ended within {capacity} bytes"}


def _step(model: Any, batch: Any, optimizer: Any, variant: Any, where: dict[str, Any]) -> None:
    clip = variant.config.optimization.grad_norm_clip
    step = cuda_step(model, batch, optimizer, autocast=variant.autocast, max_norm=clip)
    for phase in step.phases():
        where.update(phase=phase.value)


def _traceback(error: BaseException) -> str:
    """As Python prints it, with paths that begin at the package."""
    text = "".join(traceback.format_exception(error))
    return re.sub(r'File "([^"]+)"', lambda match: f'File "{_short(match[1])}"', text)


def _short(path: str) -> str:
    inside = re.search(r"(?:.*/)?((?:torch|spconv|bevdiag)/.*)", path)
    return inside[1] if inside else Path(path).name


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
