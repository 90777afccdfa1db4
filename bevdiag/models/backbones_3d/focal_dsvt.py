"""FocalDSVT: the focal sparse encoder, then DSVT on the voxels it kept."""

from typing import Any

import torch
from torch import nn

from bevdiag.config.settings import BevInput, FocalDsvtSettings
from bevdiag.errors import ConfigError
from bevdiag.models.backbones_3d.dsvt import Dsvt
from bevdiag.models.backbones_3d.focal_sparse_encoder import FocalSparseEncoder
from bevdiag.models.contracts import Batch
from bevdiag.models.interfaces import SparseVolume, SpatialShape


class FocalDsvt(nn.Module):
    """Encoder and DSVT in a row.

    `bev_input` says whose tensor the bird's-eye-view map is made of. "encoder" is what the report's
    repository does: DSVT runs, but nothing reads its features, so it gets no gradient. With "dsvt"
    its features are wrapped as `encoded_spconv_tensor`, on `volume`'s grid, its last stage's.
    """

    def __init__(
        self,
        settings: FocalDsvtSettings,
        in_channels: int,
        spatial_shape: SpatialShape,
        volume: SparseVolume,
        *,
        bev_input: BevInput,
        spconv: Any,
        device: torch.device,
    ) -> None:
        super().__init__()
        made = settings.focal_encoder.out_channels
        if settings.dsvt.d_model[0] != made:
            raise ConfigError(
                f"DSVT reads {settings.dsvt.d_model[0]} channels, but FocalSparseEncoder makes "
                f"{made}: set its first entry to {made}",
                key="MODEL.BACKBONE_3D.DSVT.d_model",
            )
        self.spconv = spconv
        self.bev_input = bev_input
        self.volume = volume
        self.focal_encoder = FocalSparseEncoder(
            settings.focal_encoder, in_channels, spatial_shape, spconv=spconv, device=device
        )
        self.dsvt = Dsvt(settings.dsvt)

    def forward(self, batch: Batch) -> Batch:
        """Write `encoded_spconv_tensor`, and DSVT's features over `voxel_features`."""
        batch = self.focal_encoder(batch)
        sparse = batch["encoded_spconv_tensor"]
        batch["voxel_features"] = sparse.features
        batch["voxel_coords"] = sparse.indices
        batch = self.dsvt(batch)
        if self.bev_input == "dsvt":
            features, indices = batch["voxel_features"], batch["voxel_coords"].int()
            batch["encoded_spconv_tensor"] = self.spconv.SparseConvTensor(
                features, indices, list(self.volume.spatial_shape), batch["batch_size"]
            )
            batch["encoded_spconv_tensor_stride"] = 1
        return batch
