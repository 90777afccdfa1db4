import collections

import numpy as np
import torch


def collate_kitti(samples):
    merged = collections.defaultdict(list)
    for sample in samples:
        assert isinstance(sample, collections.Mapping)
        for key, value in sample.items():
            merged[key].append(value)
    merged["coordinates"] = [
        np.pad(rows, ((0, 0), (1, 0)), constant_values=index)
        for index, rows in enumerate(merged["coordinates"])
    ]
    for key in ("voxels", "num_points", "coordinates"):
        merged[key] = torch.tensor(np.concatenate(merged[key]))
    merged["points"] = [torch.tensor(points) for points in merged["points"]]
    merged["hm"] = [torch.tensor(np.stack([heat[0] for heat in merged["hm"]]))]
    return dict(merged)
