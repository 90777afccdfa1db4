"""Trace configs built-in and through --source, and say how far the two are apart.

    python benchmarks/agreement.py CHECKOUT OUT.json

The same synthetic scene, AdamW, fp32. OUT is read by accuracy_page.py.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions

CONFIGS = (
    ("kitti_models/second.yaml", 2),
    ("kitti_models/pointpillar.yaml", 2),
    ("waymo_models/centerpoint.yaml", 2),
    ("waymo_models/centerpoint_pillar_1x.yaml", 1),
    ("waymo_models/centerpoint_dyn_pillar_1x.yaml", 1),
    ("waymo_models/dsvt_pillar.yaml", 1),
    ("nuscenes_models/cbgs_voxel01_res3d_centerpoint.yaml", 1),
    ("once_models/second.yaml", 1),
)


def main(checkout: Path, out: Path) -> None:
    """Trace each config twice."""
    rows = {}
    for name, batch_size in CONFIGS:
        config = checkout / "tools" / "cfgs" / name
        options = InspectOptions(batch_size=batch_size, optimizer="adamw", remedies=False)
        built_in = inspect(config, options, lambda what, share: None)
        source = inspect(config, replace(options, source=str(checkout)), lambda what, share: None)
        rows[name] = {
            "batch_size": batch_size,
            "built_in_bytes": built_in.peak.allocated_bytes,
            "source_bytes": source.peak.allocated_bytes,
            "same_params": built_in.params.total == source.params.total,
        }
        print(name, rows[name], flush=True)
    out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
