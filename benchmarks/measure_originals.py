"""Measure training steps of OpenPCDet's own detectors on the GPU at hand, with its own operators.

    python benchmarks/measure_originals.py --source CHECKOUT --out OUT.json [--scenes SCRIPT]
        [--history FOLDER] [--jobs N] [--rows FILE | --set new|roi|misses|loop]
        [--replaced torch_scatter=scatter_reduce]

CHECKOUT is a checkout of OpenPCDet, or of a fork, whose operators are built in place. Each row runs
in a process of its own: model and batch on the GPU, AdamW, four times forward, backward, clipping,
update. OUT maps row names to rows as `bevdiag validate --rows` reads them; the scene script that
made the point clouds has to lie beside it there. With --history every allocation of all steps is
kept as well, one file a row, for `benchmarks/diff_originals.py`.

The rows of "loop" are what a training script does beside the plain step: a GradScaler, several
batches an update, and evaluation: model.eval() under no_grad, post-processing included, without
ground truth, so that no recall is computed. No operator of NMS is needed there: the stub keeps
every box, and what it would need lies outside the allocator.

torch_scatter is not needed: its kernels are those of `bevdiag.models.scatter`, or with
`--replaced torch_scatter=scatter_reduce` PyTorch's operations, which the row then names.
"""

import argparse
import json
import lzma
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
NUM_STEPS = 4
NUM_BOXES = 25
GRAD_NORM = 10.0
ROW_TIMEOUT_SECONDS = 240.0
FRAMES_KEPT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is measured."""

    config: str
    batch_size: int
    points_per_sample: int
    autocast: str = "off"
    step: str = "train"
    scaler: bool = False
    accumulate: int = 1

    @property
    def name(self) -> str:
        """Unique among rows of one scene script."""
        stem = self.config.removesuffix(".yaml").replace("/", ".")
        suffix = "" if self.autocast == "off" else f"_{self.autocast}"
        suffix += "_scaler" if self.scaler else ""
        suffix += f"_accumulate{self.accumulate}" if self.accumulate > 1 else ""
        suffix += "_eval" if self.step == "eval" else ""
        return f"{stem}_b{self.batch_size}{suffix}"


KITTI, WAYMO, NUSCENES, ONCE, SWEEPS = 20_000, 160_000, 250_000, 60_000, 100_000
"""Points a sample; SWEEPS is for Lyft and Argoverse 2."""


def _row(config: str, batch_size: int, points: int, autocast: str = "off", **loop: Any) -> Row:
    return Row(
        config=f"{config}.yaml",
        batch_size=batch_size,
        points_per_sample=points,
        autocast=autocast,
        **loop,
    )


SETS = {
    "roi": (
        _row("kitti_models/voxel_rcnn_car", 2, KITTI),
        _row("kitti_models/PartA2", 2, KITTI),
        _row("kitti_models/PartA2_free", 2, KITTI),
        _row("kitti_models/pv_rcnn", 1, KITTI),
        _row("kitti_models/pv_rcnn", 3, KITTI),
        _row("kitti_models/second_iou", 2, KITTI),
        _row("kitti_models/pointrcnn", 2, KITTI),
        _row("waymo_models/pv_rcnn_plusplus", 1, WAYMO),
        _row("waymo_models/PartA2", 1, WAYMO),
        _row("waymo_models/voxel_rcnn_with_centerhead_dyn_voxel", 1, WAYMO),
        _row("once_models/pv_rcnn", 1, ONCE),
    ),
    "new": (
        _row("kitti_models/second_multihead", 3, KITTI),
        _row("kitti_models/pointpillar", 6, KITTI, "bf16"),
        _row("kitti_models/pillarnet", 2, KITTI, "fp16"),
        _row("waymo_models/second", 1, WAYMO),
        _row("waymo_models/centerpoint_pillar_1x", 1, WAYMO, "bf16"),
        _row("waymo_models/centerpoint_dyn_pillar_1x", 1, WAYMO),
        _row("waymo_models/voxelnext2d_ioubranch", 2, WAYMO),
        _row("waymo_models/dsvt_pillar", 2, WAYMO, "bf16"),
        _row("nuscenes_models/cbgs_dyn_pp_centerpoint", 4, NUSCENES, "fp16"),
        _row("nuscenes_models/cbgs_second_multihead", 2, NUSCENES),
        _row("nuscenes_models/cbgs_pillar0075_res2d_centerpoint", 2, NUSCENES),
        _row("once_models/centerpoint", 3, ONCE),
        _row("once_models/pointpillar", 1, ONCE, "fp16"),
        _row("lyft_models/cbgs_second_multihead", 2, SWEEPS),
        _row("argo2_models/cbgs_voxel01_voxelnext", 2, SWEEPS),
    ),
    "loop": (
        _row("kitti_models/second", 4, KITTI, "fp16", scaler=True),
        _row("waymo_models/centerpoint", 2, WAYMO, "fp16", scaler=True),
        _row("kitti_models/second", 2, KITTI, accumulate=2),
        _row("waymo_models/centerpoint", 1, WAYMO, accumulate=3),
        _row("kitti_models/pointpillar", 2, KITTI, "fp16", scaler=True, accumulate=2),
        _row("kitti_models/second", 4, KITTI, step="eval"),
        _row("kitti_models/pointpillar", 4, KITTI, step="eval"),
        _row("waymo_models/centerpoint", 2, WAYMO, step="eval"),
        _row("nuscenes_models/cbgs_pp_multihead", 4, NUSCENES, step="eval"),
        _row("kitti_models/second", 8, KITTI, "fp16", step="eval"),
    ),
    "misses": (
        _row("kitti_models/pointpillar", 4, KITTI),
        _row("nuscenes_models/cbgs_pp_multihead", 4, NUSCENES),
        _row("nuscenes_models/transfusion_lidar", 2, NUSCENES),
        _row("kitti_models/pv_rcnn", 2, KITTI),
        _row("waymo_models/dsvt_pillar", 1, WAYMO),
        _row("waymo_models/pillarnet", 2, WAYMO),
        _row("kitti_models/second", 4, KITTI),
    ),
}


def main() -> None:
    """Measure one row, or all of a set side by side in child processes."""
    options = _options()
    if options.one is not None:
        row = Row(**json.loads(options.one))
        print(json.dumps(measure(row, options)), flush=True)
        return
    if options.rows is not None:
        wanted = [Row(**entry) for entry in json.loads(options.rows.read_text(encoding="utf-8"))]
    else:
        wanted = [row for name in options.set for row in SETS[name]]
    done: dict[str, Any] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda row: _in_child(row, options), wanted)
        for row, found in zip(wanted, results, strict=True):
            if isinstance(found, str):
                print(f"{row.name}: FAILED: {found}", flush=True)
                continue
            done[row.name] = found
            options.out.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
            print(f"{row.name}: {found['peak_allocated_bytes']}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, default=ROOT / "tests" / "data" / "scenes.py")
    parser.add_argument("--history", type=Path)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--replaced", metavar="PACKAGE=BY", action="append", default=[])
    parser.add_argument("--set", choices=list(SETS), action="append", default=[])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_child(row: Row, options: argparse.Namespace) -> dict[str, Any] | str:
    command = [sys.executable, "-W", "ignore", __file__, "--one", json.dumps(asdict(row))]
    for name in ("source", "out", "scenes", "history"):
        value = getattr(options, name)
        command += [f"--{name}", str(value.resolve())] if value is not None else []
    for pair in options.replaced:
        command += ["--replaced", pair]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=ROW_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {ROW_TIMEOUT_SECONDS:g} s"
    if child.returncode:
        return " | ".join(child.stderr.strip().splitlines()[-12:]) or f"exit {child.returncode}"
    found: dict[str, Any] = json.loads(child.stdout.strip().splitlines()[-1])
    return found


# -- in the child ----------------------------------------------------------------------------------


def measure(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """Run the row's steps in this process and return it with what they took."""
    import torch
    from torch import nn

    from bevdiag.accuracy.rows import replacements
    from bevdiag.models import scatter
    from bevdiag.source import cuda_api, downloads, read_source_config
    from bevdiag.source.dialects.pcdet.dialect import OpenPcdet
    from bevdiag.source.dialects.pcdet.supply import FakeDataset
    from bevdiag.source.stubs import inert
    from bevdiag.source.stubs.imports import install_packages
    from bevdiag.source.stubs.small_packages import EasyDict

    split = "test" if row.step == "eval" else "train"
    settings = read_source_config(options.source / "tools" / "cfgs" / row.config, split=split)
    batch = host_batch(row, settings, options.scenes)
    cuda_api.restore_old_names()
    cuda_api.run_as_python()
    cuda_api.accept_integer_masks(lambda: None)
    downloads.refuse([])
    install_packages(options.source, NMS_THAT_KEEPS_ALL if row.step == "eval" else {})
    tools = options.source / "tools"
    sys.path[:0] = [str(options.source), str(tools)]
    os.chdir(tools)
    dialect = OpenPcdet(options.source, settings)
    dialect.open()
    inert.arm()
    config = EasyDict(settings.values())
    torch.manual_seed(0)
    recording = Recording(options.source) if options.history is not None else None
    # cuBLAS takes its workspace before anything else, as it did in the rows measured elsewhere.
    torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")
    supply = SimpleNamespace(dataset=FakeDataset(settings, config))
    model: nn.Module = dialect.build(supply).cuda()
    device_batch = {
        key: torch.from_numpy(value).float().cuda() if _is_numeric(value) else value
        for key, value in batch.items()
    }
    meter = Meter(recording)
    replaced = replacements(dict(pair.split("=", 1) for pair in options.replaced))
    with scatter.replaced(replaced):
        if row.step == "eval":
            del device_batch["gt_boxes"]
            run_evaluation(model.eval(), device_batch, row, meter)
        else:
            run_steps(model.train(), device_batch, row, meter)
    if recording is not None:
        recording.write(options.history / f"{row.name}.json.xz", meter)
    return {
        **asdict(row),
        "replaced": replaced,
        "params": sum(p.numel() for p in model.parameters()),
        "num_points": len(batch["points"]),
        "num_voxels": len(batch["voxels"]) if "voxels" in batch else None,
        **meter.figures(),
        **versions(),
    }


def _is_numeric(value: Any) -> bool:
    return getattr(value, "dtype", None) is not None and value.dtype.kind in "fiu"


def scene(row: Row, settings: Any, scenes: Path) -> Any:
    """Voxelize the row's clouds as the config says."""
    from bevdiag.scenes import PointLayout, make_batch, read_samples

    num_features = len(settings.point_features)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(scenes), "lidar", f"{folder}/"]
        command += ["--pcr", *map(str, settings.point_cloud_range), "--features", str(num_features)]
        command += ["--points", str(row.points_per_sample), "--batch", str(row.batch_size)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        files = [Path(folder) / f"{sample}.npy" for sample in range(row.batch_size)]
        layout = PointLayout(
            features=settings.point_features, point_cloud_range=settings.point_cloud_range
        )
        samples, source = read_samples(files, layout, row.batch_size)
    return make_batch(
        samples,
        point_cloud_range=settings.point_cloud_range,
        voxel_size=settings.voxel_size or (1.0, 1.0, 1.0),
        grid_size=settings.grid_size or (1, 1, 1),
        max_points=settings.max_points,
        max_voxels=settings.max_voxels,
        num_boxes=NUM_BOXES,
        num_classes=len(settings.class_names),
        seed=0,
        source=source,
    )


def host_batch(row: Row, settings: Any, scenes: Path) -> dict[str, Any]:
    """Return the batch dict as OpenPCDet's collation leaves it, NumPy arrays and plain values."""
    from bevdiag.source.dialects.pcdet.supply import source_batch

    batch = scene(row, settings, scenes)
    loaded = source_batch(batch, settings)
    if "voxels" in loaded:
        loaded["voxels"] = batch.padded_voxels()
    return {k: v.numpy() if hasattr(v, "numpy") else v for k, v in loaded.items()}


class Meter:
    """Reads the allocator's statistics, phase by phase."""

    def __init__(self, recording: "Recording | None") -> None:
        import torch

        self._cuda = torch.cuda
        self._recording = recording
        self._cuda.synchronize()
        self.resident = self._cuda.memory_allocated()
        self.phases: list[dict[str, Any]] = []
        self.load_peak = self._cuda.max_memory_allocated()

    @contextmanager
    def phase(self, step: int, name: str) -> Iterator[None]:
        """Measure what runs inside."""
        self._cuda.reset_peak_memory_stats()
        begin = time.time_ns() // 1000
        yield
        self._cuda.synchronize()
        stats = self._cuda.memory_stats()
        self.phases.append(
            {
                "step": step,
                "phase": name,
                "begin_us": begin,
                "end_us": time.time_ns() // 1000,
                "peak_allocated_bytes": stats["allocated_bytes.all.peak"],
                "allocated_after_bytes": stats["allocated_bytes.all.current"],
                "max_reserved_bytes": stats["reserved_bytes.all.peak"],
                "max_reserved_small_bytes": stats["reserved_bytes.small_pool.peak"],
            }
        )

    def figures(self) -> dict[str, Any]:
        """Return the row's figures, named as in the published rows."""

        def highest(key: str, steps: range) -> int:
            return max(p[key] for p in self.phases if p["step"] in steps)

        every, later = range(1, NUM_STEPS + 1), range(2, NUM_STEPS + 1)
        kept = ("peak_allocated_bytes", "allocated_after_bytes")
        return {
            "resident_before_step_bytes": self.resident,
            "steady_step": {
                p["phase"]: {key: p[key] for key in kept}
                for p in self.phases
                if p["step"] == NUM_STEPS
            },
            "peak_allocated_bytes": highest("peak_allocated_bytes", later),
            "first_step_peak_allocated_bytes": highest("peak_allocated_bytes", range(1, 2)),
            "max_reserved_bytes": highest("max_reserved_bytes", every),
            "max_reserved_small_bytes": highest("max_reserved_small_bytes", every),
            "first_step_max_reserved_bytes": highest("max_reserved_bytes", range(1, 2)),
        }


def run_steps(model: Any, batch: dict[str, Any], row: Row, meter: Meter) -> None:
    """Four updates, each of as many equal batches as the row says."""
    import torch

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(row.autocast)
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.cuda.amp.GradScaler(enabled=row.scaler)
    for step in range(1, NUM_STEPS + 1):
        for _ in range(row.accumulate):
            autocast = torch.autocast("cuda", dtype) if dtype is not None else nullcontext()
            with meter.phase(step, "fwd"), autocast:
                loss = _forward(model, batch)
            with meter.phase(step, "bwd"):
                scaler.scale(loss).backward()
                del loss
        with meter.phase(step, "step"):
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRAD_NORM)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()


def run_evaluation(model: Any, batch: dict[str, Any], row: Row, meter: Meter) -> None:
    """Evaluate the batch four times."""
    import torch

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(row.autocast)
    for step in range(1, NUM_STEPS + 1):
        autocast = torch.autocast("cuda", dtype) if dtype is not None else nullcontext()
        with meter.phase(step, "fwd"), torch.no_grad(), autocast:
            found = model(_fresh(batch))
        del found


def _keep_all(boxes: Any, keep: Any, *_: Any) -> int:
    import torch

    keep[:] = torch.arange(len(keep))
    return len(keep)


NMS_THAT_KEEPS_ALL = {"iou3d_nms_cuda": {"nms_gpu": _keep_all, "nms_normal_gpu": _keep_all}}


def _forward(model: Any, batch: dict[str, Any]) -> Any:
    returned, _, _ = model(_fresh(batch))
    return returned["loss"].mean()


def _fresh(batch: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.clone() if hasattr(value, "clone") else value for key, value in batch.items()
    }


def versions() -> dict[str, str]:
    """Return what the row was measured with."""
    from importlib.metadata import version

    import numpy
    import torch

    spconv = next(n for n in ("spconv-cu126", "spconv-cu120", "spconv") if _is_installed(n))
    return {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cudnn": str(torch.backends.cudnn.version()),
        "spconv": f"{spconv} {version(spconv)}",
        "numpy": numpy.__version__,
    }


def _is_installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


class Recording:
    """The allocator's own history of this process, from here on."""

    def __init__(self, source: Path) -> None:
        import torch

        self._source = str(source) + "/"
        torch.cuda.init()
        torch.cuda.memory._record_memory_history(stacks="python", max_entries=4_000_000)

    def write(self, out: Path, meter: Meter) -> None:
        """Keep [action, address, bytes, microseconds, place] an event; places are numbered."""
        import torch

        places: dict[str, int] = {}
        events = []
        for entry in torch.cuda.memory._snapshot()["device_traces"][0]:
            place = places.setdefault(self._place(entry.get("frames", ())), len(places))
            address = entry.get("addr", 0)
            events.append([entry["action"], address, entry["size"], entry["time_us"], place])
        kept = {"phases": meter.phases, "places": list(places), "events": events}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(lzma.compress(json.dumps(kept).encode(), preset=1))

    def _place(self, frames: Any) -> str:
        """Return the innermost function, and the innermost lines of the repository."""
        reported = [frame["name"] for frame in frames[:1]]
        own = [frame for frame in frames if frame["filename"].startswith(self._source)]
        reported += [f"{f['filename'].rpartition('/')[2]}:{f['line']}" for f in own[:FRAMES_KEPT]]
        return " < ".join(reported)


if __name__ == "__main__":
    main()
