"""Measure training steps of general modules on the GPU at hand; torch alone is imported.

    python benchmarks/measure_modules.py --out OUT.json [--modules SCRIPT] [--history FOLDER]
        [NAME[@bf16|@fp16][+kept] ...]

Each row runs in a process of its own: the model drawn with seed 0 on the CPU and moved to the GPU,
its inputs moved, AdamW, four times forward, loss, backward, update. "+kept" keeps the model's
output alive during backward, as in `out = model(x); loss = f(out); loss.backward()`. With --history
every allocation and release of the second step is kept too, one file a row.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

MODULES = Path(__file__).parents[1] / "tests" / "data" / "modules.py"
NUM_STEPS = 4
RECORDED_STEP = 2
ROW_TIMEOUT_SECONDS = 120.0


def main() -> None:
    """Measure one row, or all that are named one after the other in child processes."""
    options = _options()
    if options.one is not None:
        print(json.dumps(measure(options.one, options)), flush=True)
        return
    done: dict[str, Any] = {}
    for name in options.names or load(options.modules).MODULES:
        command = [sys.executable, "-W", "ignore", __file__, "--one", name, "--out", options.out]
        command += ["--modules", options.modules]
        command += ["--history", options.history] if options.history is not None else []
        try:
            child = subprocess.run(
                [str(part) for part in command],
                capture_output=True,
                text=True,
                timeout=ROW_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"{name}: FAILED: did not end within {ROW_TIMEOUT_SECONDS:g} s", flush=True)
            continue
        if child.returncode:
            print(f"{name}: FAILED: {child.stderr.strip().splitlines()[-1:]}", flush=True)
            continue
        done[name] = json.loads(child.stdout.strip().splitlines()[-1])
        options.out.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {done[name]['peak_allocated_bytes']}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--modules", type=Path, default=MODULES)
    parser.add_argument("--history", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def load(path: Path) -> Any:
    """Load the script that defines the modules."""
    spec = importlib.util.spec_from_file_location("modules", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(row: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run the row's steps in this process and return it with what they took."""
    import torch

    name, kept = row.removesuffix("+kept"), row.endswith("+kept")
    name, _, autocast = name.partition("@")
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(autocast)
    torch.manual_seed(0)
    case = load(options.modules).MODULES[name]()
    model, inputs = case.model.cuda().train(), [tensor.cuda() for tensor in case.inputs]
    optimizer = torch.optim.AdamW(model.parameters())
    peaks, reserved = [], []
    for step in range(1, NUM_STEPS + 1):
        torch.cuda.reset_peak_memory_stats()
        if options.history is not None and step == RECORDED_STEP:
            torch.cuda.memory._record_memory_history(context=None, max_entries=1_000_000)
        with torch.autocast("cuda", dtype) if dtype is not None else nullcontext():
            output = model(*inputs)
            loss = case.loss(output)
        if not kept:
            del output
        torch.autograd.backward(loss)
        output = loss = None
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        peaks.append(torch.cuda.max_memory_allocated())
        reserved.append(torch.cuda.max_memory_reserved())
        if options.history is not None and step == RECORDED_STEP:
            _write_history(options.history / f"{row.replace('@', '_').replace('+', '_')}.json")
    return {
        "name": name,
        "autocast": autocast or "off",
        "output_kept": kept,
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "peak_allocated_bytes": max(peaks[1:]),
        "first_step_peak_allocated_bytes": peaks[0],
        "max_reserved_bytes": max(reserved),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "gpu": torch.cuda.get_device_name(),
    }


def _write_history(out: Path) -> None:
    """Keep [action, address, bytes] of each allocation and release, in their order."""
    import torch

    trace = torch.cuda.memory._snapshot()["device_traces"][torch.cuda.current_device()]
    torch.cuda.memory._record_memory_history(enabled=None)
    wanted = {"alloc": "+", "free_requested": "-"}
    events = [
        [wanted[event["action"]], event["addr"], event["size"]]
        for event in trace
        if event["action"] in wanted
    ]
    out.write_text(json.dumps(events), encoding="utf-8")


if __name__ == "__main__":
    main()
