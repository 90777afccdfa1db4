"""Measure training steps of mmdetection3d's own detectors, on batches made where no GPU is.

    python benchmarks/measure_mmdet3d.py prepare --source CHECKOUT --out FOLDER [--row NAME ...]
    python benchmarks/measure_mmdet3d.py measure --source CHECKOUT --out FOLDER [--row NAME ...]
    python benchmarks/measure_mmdet3d.py table

`prepare` makes each row's point clouds (FOLDER/NAME.N.npy, which `bevdiag inspect --points` takes)
and runs the config's own training pipeline on them as bevdiag does (FOLDER/NAME.pt.xz). `measure`
runs on a GPU, with mmcv's operators compiled: the model from its registry, the config's own
optimizer wrapper, four times `train_step` cut into its parts. It adds NAME to FOLDER/rows.json,
which holds figures named like those of other measured rows. `table` prints the rows that come with
bevdiag beside what was predicted before they were measured, as docs/mmdetection3d.md shows them.
CHECKOUT is mmdetection3d 1.4.
"""

import argparse
import json
import lzma
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure_originals import NUM_STEPS, Meter

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "bevdiag" / "accuracy" / "measured" / "mmdet3d_h200.json"
PREDICTED = ROOT / "benchmarks" / "predicted" / "mmdet3d_h200.json"
ROWS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "pointpillars_kitti_b6": (
        "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py", 6, ()
    ),
    "second_kitti_b6": ("second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py", 6, ()),
    "centerpoint_pillar_nus_b2": (
        "centerpoint/centerpoint_pillar02_second_secfpn_8xb4-cyclic-20e_nus-3d.py", 2, ()
    ),
    "mvxnet_kitti_b2": (
        "mvxnet/mvxnet_fpn_dv_second_secfpn_8xb2-80e_kitti-3d-3class.py", 2, ()
    ),
    "fcos3d_nus_b2": ("fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py", 2, ()),
    "smoke_kitti_b8": ("smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py", 8, ()),
    "pgd_kitti_b3": ("pgd/pgd_r101-caffe_fpn_head-gn_4xb3-4x_kitti-mono3d.py", 3, ()),
    "petr_vovnet_nus_b1": (
        "../projects/PETR/configs/petr_vovnet_gridmask_p4_800x320.py", 1, ()
    ),
    "tpvformer_nus_b1": (
        "../projects/TPVFormer/configs/tpvformer_8xb1-2x_nus-seg.py", 1, ()
    ),
    "cylinder3d_semantickitti_b4": (
        "cylinder3d/cylinder3d_4xb4-3x_semantickitti.py", 4, ()
    ),
    "pvrcnn_kitti_b2": ("pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py", 2, ()),
    "votenet_scannet_b8": ("votenet/votenet_8xb8_scannet-3d.py", 8, ()),
}  # fmt: skip
"""The config, the batch size and --cfg-options."""


def main() -> None:
    """Do what is asked for each row, in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("prepare", "measure", "table"))
    parser.add_argument("--source", type=Path, default=Path())
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--row", choices=list(ROWS), action="append", default=[])
    parser.add_argument("--one", choices=list(ROWS))
    options = parser.parse_args()
    if options.what == "table":
        print(table(), end="")
        return
    options.source, options.out = options.source.resolve(), options.out.resolve()
    if options.one is not None:
        {"prepare": prepare, "measure": measure}[options.what](options.one, options)
        return
    for name in options.row or ROWS:
        command = [sys.executable, "-W", "ignore", __file__, options.what, "--one", name]
        command += ["--source", str(options.source), "--out", str(options.out)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        said = (ended.stdout if ended.returncode == 0 else ended.stderr).strip().splitlines()
        print(f"{name}: {' | '.join(said[-6 if ended.returncode else -1 :])}", flush=True)


def prepare(name: str, options: argparse.Namespace) -> None:
    """Write the row's clouds and its collated batch."""
    import numpy as np
    import torch

    from bevdiag.prediction.options import InspectOptions
    from bevdiag.prediction.repository import Repository
    from bevdiag.source import cuda_api
    from bevdiag.source.dialects.mmengine.dialect import MMEngine

    config, size, overrides = ROWS[name]
    path = options.source / "configs" / config
    asked = InspectOptions(
        source=str(options.source), overrides=overrides, batch_size=size, gpu="h200"
    )
    batch = Repository.read(path, asked).batch()
    for index in range(size):
        cloud = batch.points[batch.points[:, 0] == index, 1:]
        np.save(options.out / f"{name}.{index}.npy", cloud)
    cuda_api.pretend()
    dialect = MMEngine(options.source, path, overrides)
    sys.path.insert(0, str(options.source))
    dialect.install()
    tempfile.tempdir = tempfile.mkdtemp()
    dialect.open()
    supply = dialect.supply(batch, [], loads=True)
    supply.load()
    loaded = supply.batch(with_values=True)
    file = options.out / f"{name}.pt.xz"
    with lzma.open(file, "wb", preset=1) as stream:
        torch.save(loaded.entries, stream)
    print(file.stat().st_size)


def measure(name: str, options: argparse.Namespace) -> None:
    """Four steps of the row on the GPU; its figures go to rows.json."""
    sys.setdlopenflags(os.RTLD_LAZY)
    sys.path.insert(0, str(options.source))
    from bevdiag.source.stubs.imports import install_packages

    # Tools of data sets' evaluations, which a step has no use for.
    install_packages(options.source, {})
    import torch
    from mmdet3d.registry import MODELS
    from mmdet3d.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.optim import build_optim_wrapper

    config_path, size, overrides = ROWS[name]
    with lzma.open(options.out / f"{name}.pt.xz") as stream:
        data = torch.load(stream, weights_only=False)
    config = Config.fromfile(str(options.source / "configs" / config_path))
    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    # cuBLAS takes its workspace before anything else, as in the rows measured elsewhere.
    torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")
    model: Any = MODELS.build(config.model).cuda().train()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    meter = Meter(None)
    for step in range(1, NUM_STEPS + 1):
        with meter.phase(step, "fwd"), wrapper.optim_context(model):
            batch = model.data_preprocessor({**data, "inputs": dict(data["inputs"])}, True)
            losses = model(**batch, mode="loss")
            loss, _ = model.parse_losses(losses)
            del batch, losses, _
        with meter.phase(step, "bwd"):
            wrapper.backward(wrapper.scale_loss(loss))
            del loss
        with meter.phase(step, "step"):
            wrapper.step()
            wrapper.zero_grad()
    row = {
        "config": config_path,
        "batch_size": size,
        "overrides": list(overrides),
        "params": sum(p.numel() for p in model.parameters()),
        **meter.figures(),
        **versions(),
    }
    file = options.out / "rows.json"
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**rows, name: row}, indent=1) + "\n", encoding="utf-8")
    print(row["peak_allocated_bytes"], row["max_reserved_bytes"])


def table() -> str:
    """Measured rows beside their predictions, as Markdown."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    predicted = json.loads(PREDICTED.read_text(encoding="utf-8"))
    titles = "config", "batch", "measured", "predicted", "error", "low", "high", "covered"
    titles += "reserved", "error", "covered"
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for name, row in measured.items():
        peak, real = predicted[name]["peak"], row["peak_allocated_bytes"]
        reserved = row["max_reserved_bytes"]
        shown = (
            Path(row["config"]).stem,
            row["batch_size"],
            _gib(real),
            _gib(peak["allocated_bytes"]),
            f"{peak['allocated_bytes'] / real - 1:+.2%}",
            _gib(peak["low_bytes"]),
            _gib(peak["high_bytes"]),
            "yes" if real <= peak["high_bytes"] else "no",
            _gib(reserved),
            f"{peak['reserved_bytes'] / reserved - 1:+.1%}",
            "yes" if reserved <= peak["high_reserved_bytes"] else "no",
        )
        lines.append(f"| {' | '.join(map(str, shown))} |")
    return "\n".join(lines) + "\n"


def _gib(nbytes: int) -> str:
    return f"{nbytes / 2**30:.2f} GiB"


def versions() -> dict[str, str]:
    """Return what the row was measured with."""
    from importlib.metadata import version

    import mmcv
    import mmengine
    import numpy
    import torch

    return {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cudnn": str(torch.backends.cudnn.version()),
        "mmcv": mmcv.__version__,
        "mmengine": mmengine.__version__,
        "mmdet": version("mmdet"),
        "numpy": numpy.__version__,
    }


if __name__ == "__main__":
    main()
