"""The clouds of the measured rows in this folder: bevdiag's made-up lidar, seed i for sample i.

    python scenes.py lidar PREFIX --pcr X Y Z X Y Z --points N --features F --batch B

writes PREFIX0.npy, PREFIX1.npy, ...
"""

import argparse

import numpy as np

from bevdiag.scenes import synthetic_lidar


def main() -> None:
    """Write the clouds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["lidar"])
    parser.add_argument("prefix")
    parser.add_argument("--pcr", type=float, nargs=6, required=True)
    parser.add_argument("--points", type=int, required=True)
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    for sample in range(options.batch):
        cloud = synthetic_lidar(options.points, tuple(options.pcr), options.features, sample)
        np.save(f"{options.prefix}{sample}.npy", cloud)


if __name__ == "__main__":
    main()
