"""HeightCompression: heights become channels."""

from typing import Any

from bevdiag.config.settings import HeightCompressionSettings
from bevdiag.models.batch import Batch
from bevdiag.models.contracts import MapToBev
from bevdiag.models.interfaces import SparseVolume
from bevdiag.models.map_to_bev.height_strides import HeightStrides


class HeightCompression(MapToBev):
    """Densifies [B, C, D, H, W] and flattens it to [B, C * D, H, W]."""

    def __init__(
        self, settings: HeightCompressionSettings, volume: SparseVolume, *, spconv: Any
    ) -> None:
        super().__init__()
        self.num_bev_features = settings.num_bev_features
        self.height_strides = None
        if settings.height_strides:
            self.height_strides = HeightStrides(settings.height_strides, volume, spconv=spconv)
            volume = self.height_strides.volume
        self.volume = volume

    def real_bev_channels(self) -> int:
        """Channels of the map: C * D behind the strides."""
        return self.volume.channels * self.volume.spatial_shape[0]

    def forward(self, batch: Batch) -> Batch:
        """Add `spatial_features` [B, C * D, H, W] and their stride."""
        sparse = batch["encoded_spconv_tensor"]
        if self.height_strides is not None:
            sparse = self.height_strides(sparse)
        dense = sparse.dense()
        b, c, d, h, w = dense.shape
        batch["spatial_features"] = dense.view(b, c * d, h, w)
        batch["spatial_features_stride"] = batch["encoded_spconv_tensor_stride"]
        return batch
