"""What a detector asks of its modules beside their forward passes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from bevdiag.models.batch import Batch

Detections = dict[str, Tensor]
"""A sample's `boxes` [n, 7+], `scores` [n] and `labels` [n], as an evaluation finds them."""


class MapToBev(nn.Module, ABC):
    """Adds `spatial_features`, the bird's-eye-view map [B, C, H, W].

    Attributes:
        num_bev_features: C as the config declares it; the 2D backbone is built for it.
    """

    num_bev_features: int

    @abstractmethod
    def real_bev_channels(self) -> int:
        """C as it follows from what the module reads.

        Raises:
            ChannelMismatch: the module itself is built for other channels than it reads.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many boxes an evaluation lets through; the defaults are OpenPCDet's most common ones.

    Attributes:
        before: boxes of a sample that overlaps are looked for among (NMS_PRE_MAXSIZE).
        after: boxes that are left (NMS_POST_MAXSIZE).
        objects: heat-map peaks of a sample and head (MAX_OBJ_PER_SAMPLE).
        by_class: whether each class has its own overlaps (MULTI_CLASSES_NMS).
    """

    before: int = 4096
    after: int = 500
    objects: int = 500
    by_class: bool = False


class DenseHead(nn.Module, ABC):
    """Predicts from `spatial_features_2d`, assigns targets, and keeps both for `loss`.

    Attributes:
        limits: what an evaluation lets through.
    """

    limits: Limits = Limits()

    @abstractmethod
    def loss(self) -> Tensor:
        """The last forward pass's loss, a scalar."""

    @abstractmethod
    def detect(self, batch: Batch) -> list[Detections]:
        """Return what the last forward pass found, sample by sample.

        Args:
            batch: it, as that pass left it.
        """
