"""What a detector asks of its modules beside their forward passes."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


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


class DenseHead(nn.Module, ABC):
    """Predicts from `spatial_features_2d`, assigns targets, and keeps both for `loss`."""

    @abstractmethod
    def loss(self) -> Tensor:
        """Return the last forward pass's loss, a scalar."""
