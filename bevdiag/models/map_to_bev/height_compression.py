"""HeightCompression: heights become channels."""

from torch import nn

from bevdiag.config.settings import HeightCompressionSettings
from bevdiag.models.batch import Batch


class HeightCompression(nn.Module):
    """Densifies [B, C, D, H, W] and flattens it to [B, C * D, H, W]."""

    def __init__(self, settings: HeightCompressionSettings) -> None:
        super().__init__()
        self.num_bev_features = settings.num_bev_features

    def real_bev_channels(self, spatial_shape: tuple[int, int, int], channels: int) -> int:
        """Channels of the map, from the sparse tensor's extents z, y, x and its channels."""
        return channels * spatial_shape[0]

    def forward(self, batch: Batch) -> Batch:
        """Add `spatial_features` [B, C * D, H, W] and their stride."""
        sparse = batch["encoded_spconv_tensor"]
        dense = sparse.dense()
        b, c, d, h, w = dense.shape
        batch["spatial_features"] = dense.view(b, c * d, h, w)
        batch["spatial_features_stride"] = batch["encoded_spconv_tensor_stride"]
        return batch
