"""What modules of a detector pass on, and what is asked of them beside their forward passes.

A batch is a dictionary, as OpenPCDet's. Keys a detector starts from, with M voxels, at most P
points of F features in each, and B samples:

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

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

Batch = dict[str, Any]
Detections = dict[str, Tensor]
"""A sample's `boxes` [n, 7+], `scores` [n] and `labels` [n], as an evaluation finds them."""


class Kept(dict[str, Any]):
    """What a module keeps from one step until the next one overwrites it, entry by entry.

    Attributes:
        overwritten: hears of each entry that has just been written.
    """

    overwritten: ClassVar[Callable[["Kept", str], None] | None] = None

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if Kept.overwritten is not None:
            Kept.overwritten(self, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many boxes an evaluation lets through; the defaults are OpenPCDet's most common ones.

    Attributes:
        before: boxes of a sample that overlaps are looked for among (NMS_PRE_MAXSIZE).
        after: boxes that are left (NMS_POST_MAXSIZE).
        objects: heat-map peaks of a sample and head (MAX_OBJ_PER_SAMPLE).
    """

    before: int = 4096
    after: int = 500
    objects: int = 500


class DenseHead(nn.Module, ABC):
    """Predicts from `spatial_features_2d`, assigns targets, and keeps both for `loss`.

    Attributes:
        limits: what an evaluation lets through.
    """

    limits: Limits = Limits()

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()

    @abstractmethod
    def loss(self) -> Tensor:
        """Return the last forward pass's loss, a scalar."""

    @abstractmethod
    def detect(self, batch: Batch) -> list[Detections]:
        """Return what the last forward pass found, sample by sample.

        Args:
            batch: it, as that pass left it.
        """
