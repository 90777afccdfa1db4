"""The batch dictionary that detectors pass from module to module, as OpenPCDet's do.

Keys a detector starts from, with M voxels, at most P points of F features in each, and B samples:

- `voxels` float [M, P, F], zero beyond a voxel's points; `voxel_num_points` float [M];
- `voxel_coords` float [M, 4]: sample, z, y, x; real values even where features are meta tensors;
- `gt_boxes` float [B, boxes, 8]: x, y, z, dx, dy, dz, heading, class from 1; zero rows pad;
- `gt_boxes_host`: the same as a NumPy array, for work that the originals do on the host;
- `points` float [N, 1 + F]: sample, x, y, z and more; real values where the VFE groups points;
- `batch_size`: B.

Modules add `voxel_features`, `encoded_spconv_tensor`, `encoded_spconv_tensor_stride`,
`loss_box_of_backbone`, `pillar_features`, `spatial_features`, `spatial_features_stride` and
`spatial_features_2d`; a value lives until its key is written again or the dictionary is dropped.
"""

from typing import Any

Batch = dict[str, Any]
