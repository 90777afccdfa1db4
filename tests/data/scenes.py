"""The clouds of the measured rows in this folder.

    python scenes.py lidar PREFIX --pcr X Y Z X Y Z --points N --features F --batch B
    python scenes.py sonar PREFIX --points N --batch B

Lidar is bevdiag's made-up one, seed i for sample i; sonar are the two clouds in this folder.

writes PREFIX0.npy, PREFIX1.npy, ...
"""

import argparse
from pathlib import Path

import numpy as np

from bevdiag.scenes import synthetic_lidar


def main() -> None:
    """Write the clouds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["lidar", "sonar"])
    parser.add_argument("prefix")
    parser.add_argument("--pcr", type=float, nargs=6)
    parser.add_argument("--points", type=int, required=True)
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    for sample in range(options.batch):
        if options.kind == "sonar":
            with np.load(Path(__file__).with_name(f"sonar{sample}.npz")) as stored:
                cloud = stored["points"][: options.points]
        else:
            cloud = synthetic_lidar(options.points, tuple(options.pcr), options.features, sample)
        np.save(f"{options.prefix}{sample}.npy", cloud)


if __name__ == "__main__":
    main()
