"""FocalDSVT: the focal sparse encoder, then DSVT on the voxels it kept."""

from typing import Any

import torch
from torch import nn

from bevdiag.config.settings import BevInput, FocalDsvtSettings
from bevdiag.errors import ConfigError
from bevdiag.models.backbones_3d.dsvt import Dsvt
from bevdiag.models.backbones_3d.focal_sparse_encoder import OUT_CHANNELS, FocalSparseEncoder
from bevdiag.models.batch import Batch
from bevdiag.models.map_to_bev.height_strides import SparseVolume
from bevdiag.models.values import to_device


class FocalDsvt(nn.Module):
    """Encoder and DSVT in a row.

    `bev_input` says whose tensor the bird's-eye-view map is made of. "encoder" is what the report's
    repository does: DSVT runs, but nothing reads its features, so it gets no gradient. With "dsvt"
    its features are wrapped as `encoded_spconv_tensor`, on the grid of its last stage.
    """

    def __init__(
        self,
        settings: FocalDsvtSettings,
        in_channels: int,
        spatial_shape: tuple[int, int, int],
        *,
        bev_input: BevInput,
        spconv: Any,
        device: torch.device,
    ) -> None:
        super().__init__()
        if settings.dsvt.d_model[0] != OUT_CHANNELS:
            raise ConfigError(
                f"DSVT reads {settings.dsvt.d_model[0]} channels, but FocalSparseEncoder makes "
                f"{OUT_CHANNELS}: set its first entry to {OUT_CHANNELS}",
                key="MODEL.BACKBONE_3D.DSVT.d_model",
            )
        self.spconv = spconv
        self.bev_input = bev_input
        self.focal_encoder = FocalSparseEncoder(
            settings.focal_encoder, in_channels, spatial_shape, spconv=spconv, device=device
        )
        self.dsvt = Dsvt(settings.dsvt)
        last = self.dsvt.input_layer.sparse_shapes[-1]
        self.volume = (
            SparseVolume(OUT_CHANNELS, spatial_shape)
            if bev_input == "encoder"
            else SparseVolume(settings.dsvt.d_model[-1], (last[2], last[1], last[0]))
        )

    def forward(self, batch: Batch) -> Batch:
        """Write `encoded_spconv_tensor`, and DSVT's features over `voxel_features`."""
        batch = self.focal_encoder(batch)
        sparse = batch["encoded_spconv_tensor"]
        batch["voxel_features"] = sparse.features
        batch["voxel_coords"] = sparse.indices
        batch = self.dsvt(batch)
        if self.bev_input == "dsvt":
            features = batch["voxel_features"]
            if features.is_meta:
                coords = self.dsvt.input_layer.last_coords(sparse.indices.numpy())
                indices = to_device(coords, features.device, keep_values=True)
            else:
                indices = batch["voxel_coords"].int()
            batch["encoded_spconv_tensor"] = self.spconv.SparseConvTensor(
                features, indices, list(self.volume.spatial_shape), batch["batch_size"]
            )
            batch["encoded_spconv_tensor_stride"] = 1
        return batch
