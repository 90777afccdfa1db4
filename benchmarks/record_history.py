"""Record what the CUDA allocator was asked for during one training step, event by event.

    python benchmarks/record_history.py OUT.json CONFIG POINTS.npy [KEY=value ...]

Writes the events of the second step: [action, address, bytes, innermost Python frames]. The
addresses tell which free belongs to which allocation.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from bevdiag import sparse
from bevdiag.models.builder import build_detector
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.optimizers import build_optimizer
from bevdiag.trace.training_step import cuda_step

NUM_FRAMES = 4


def main(out: Path, config: Path, points: str, overrides: tuple[str, ...]) -> None:
    """Record the second step."""
    options = InspectOptions(
        points=(points,), in_file_order=True, optimizer="adamw", overrides=overrides
    )
    source = BuiltIn.read(config, options)
    device = torch.device("cuda", 0)
    torch.manual_seed(0)
    settings = source.config
    model = build_detector(
        settings.model,
        settings.data,
        settings.class_names,
        spconv=sparse.namespace("cuda"),
        device=device,
    ).train()
    optimizer = build_optimizer(model, settings.optimization, source.optimizer)
    batch = real_batch(source.batch(), device)
    _step(model, batch, optimizer)
    before = torch.cuda.memory_allocated()
    torch.cuda.memory._record_memory_history(stacks="python", max_entries=2_000_000)
    marks = _step(model, batch, optimizer)
    events = torch.cuda.memory._snapshot()["device_traces"][0]
    out.write_text(
        json.dumps(
            {
                "gpu": torch.cuda.get_device_name(),
                "torch": torch.__version__,
                "cudnn": torch.backends.cudnn.version(),
                "allocated_before_bytes": before,
                "allocated_bytes_at_marks": marks,
                "events": [_event(entry) for entry in events],
            }
        ),
        encoding="utf-8",
    )


def _step(model: Any, batch: dict[str, Any], optimizer: Any) -> list[int]:
    step = cuda_step(model, batch, optimizer, autocast="off", max_norm=10.0)
    return [torch.cuda.memory_allocated() for _ in step.ended()]


def _event(entry: dict[str, Any]) -> list[Any]:
    frames = [
        f"{frame['filename'].rpartition('/')[2]}:{frame['line']}:{frame['name']}"
        for frame in entry.get("frames", [])
        if "site-packages/torch/" not in frame["filename"]
    ]
    return [entry["action"], entry["addr"], entry["size"], frames[:NUM_FRAMES]]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], tuple(sys.argv[4:]))
