"""Measure the shipped model on the GPU at hand, and record its allocator's history.

    python benchmarks/measure_shipped_model.py OUT POINTS.npy

Writes OUT/measured_<input>_<compression>.json, what `bevdiag inspect --device cuda` reports, for
MAP_TO_BEV.INPUT encoder and dsvt and the compressions none, max and sparse_max.
"""

import sys
from dataclasses import replace
from pathlib import Path

from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.report.as_json import as_json

CONFIG = Path(__file__).parents[1] / "configs" / "focalsst_dsvt.yaml"


def main(out: Path, points: str) -> None:
    """Measure the six variants."""
    options = InspectOptions(
        device="cuda", points=(points,), optimizer="adamw", remedies=False, batch_size=1
    )
    for bev_input in ("encoder", "dsvt"):
        for compression in ("none", "max", "sparse_max"):
            changed = replace(
                options,
                compression=compression,
                overrides=(f"MODEL.MAP_TO_BEV.INPUT={bev_input}",),
            )
            report = inspect(CONFIG, changed, lambda what, share: None)
            measured = report.measurement
            name = f"measured_{bev_input}_{compression}.json"
            (out / name).write_text(as_json(report), encoding="utf-8")
            print(name, report.peak.allocated_bytes, measured, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
