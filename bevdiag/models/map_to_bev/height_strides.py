"""HEIGHT_STRIDES: sparse convolutions that bring the height down before the map is made."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from bevdiag.models.interfaces import SparseVolume


class HeightStrides(nn.Module):
    """For each stride s a sparse convolution of kernel and stride (s, 1, 1), BatchNorm and ReLU.

    Each takes D to ceil(D / s): the height is padded below and above by half of what it lacks to a
    multiple of s, rounded up, so that no level is dropped. Channels stay as they are.

    Attributes:
        volume: what comes out.
    """

    def __init__(self, strides: Sequence[int], volume: SparseVolume, *, spconv: Any) -> None:
        super().__init__()
        channels, (depth, height, width) = volume.channels, volume.spatial_shape
        layers: list[nn.Module] = []
        for stride in strides:
            layers += [
                spconv.SparseConv3d(
                    channels,
                    channels,
                    (stride, 1, 1),
                    stride=(stride, 1, 1),
                    padding=((-depth % stride + 1) // 2, 0, 0),
                    bias=False,
                ),
                nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01),
                nn.ReLU(),
            ]
            depth = -(-depth // stride)
        self.layers = spconv.SparseSequential(*layers)
        self.volume = SparseVolume(channels, (depth, height, width))

    def forward(self, sparse: Any) -> Any:
        """Turn a sparse tensor on the full height into one on the reduced height."""
        return self.layers(sparse)
