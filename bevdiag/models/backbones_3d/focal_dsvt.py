"""FocalDSVT: the focal sparse encoder, then DSVT on the voxels that it kept."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bevdiag.config.backbone_settings import FocalDsvtSettings, FocalEncoderSettings
from bevdiag.config.bev_settings import BevInput
from bevdiag.errors import ConfigError
from bevdiag.models.backbones_3d.dsvt import Dsvt
from bevdiag.models.backbones_3d.focal_growth import OFFSETS
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth, points_in_boxes
from bevdiag.models.contracts import Batch
from bevdiag.models.interfaces import SparseVolume, SpatialShape
from bevdiag.models.sized_ops import to_device, without_values


class FocalSparseEncoder(VoxelGrowth):
    """Submanifold stem, importance of every voxel and its 26 neighbours, growth, convolution.

    Adds `encoded_spconv_tensor` (C = OUT_CHANNELS, the full grid) and, in training, its focal
    loss as `loss_box_of_backbone`. The detector's loss leaves the latter out, as in the report's
    repository, so the importance convolution gets no gradient.
    """

    def __init__(
        self,
        settings: FocalEncoderSettings,
        in_channels: int,
        spatial_shape: tuple[int, int, int],
        *,
        spconv: Any,
    ) -> None:
        """Build the layers. `spatial_shape` is z, y, x; `spconv` is like spconv.pytorch."""
        super().__init__(
            threshold=settings.focal_threshold,
            topk=settings.focal_topk,
            scale_all=False,
            scale_fore=False,
            spconv=spconv,
        )
        self.settings = settings
        self.spatial_shape = spatial_shape
        norm = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)
        conv = partial(spconv.SubMConv3d, kernel_size=3, padding=1, bias=False)
        self.conv_input = spconv.SparseSequential(
            conv(in_channels, 32, indice_key="subm1"),
            norm(32),
            nn.ReLU(),
            conv(32, 64, indice_key="subm1"),
            norm(64),
            nn.ReLU(),
        )
        self.conv_imp = conv(64, len(OFFSETS) + 1, indice_key="imp")
        self.conv_focal = spconv.SparseSequential(
            conv(64, settings.out_channels, indice_key="focal"),
            norm(settings.out_channels),
            nn.ReLU(),
        )
        self.num_point_features = settings.out_channels
        self.voxel_size = torch.tensor(settings.voxel_size)
        self.point_cloud_range = torch.tensor(settings.point_cloud_range)

    def forward(self, batch: Batch) -> Batch:
        """Add `encoded_spconv_tensor`."""
        x = self.spconv.SparseConvTensor(
            batch["voxel_features"],
            batch["voxel_coords"].int(),
            list(self.spatial_shape),
            batch["batch_size"],
        )
        x = self.conv_input(x)
        logits = self.conv_imp(x).features
        importance = torch.sigmoid(logits[:, -1])
        if self.training:
            loss = self._importance_loss(importance, batch, x.indices)
            batch["loss_box_of_backbone"] = batch.get("loss_box_of_backbone", 0) + loss
        grown = self.grown(x, logits)
        batch["encoded_spconv_tensor"] = self.conv_focal(grown[0])
        batch["encoded_spconv_tensor_stride"] = 1
        return batch

    def _importance_loss(self, importance: Tensor, batch: Batch, indices: Tensor) -> Tensor:
        """Focal loss against "the voxel's centre lies in a box"."""
        config = self.settings.loss_config
        target = self._importance_target(batch, indices)
        agreement = importance * target + (1 - importance) * (1 - target)
        loss = -config.alpha * (1 - agreement) ** config.gamma * torch.log(agreement + 1e-6)
        return loss.mean() * config.loss_weight

    def _importance_target(self, batch: Batch, indices: Tensor) -> Tensor:
        boxes = batch["gt_boxes"]
        coords = without_values(indices) if boxes.is_meta else indices
        zyx = coords[:, 1:].float()
        size, origin = self.voxel_size, self.point_cloud_range[:3]
        centres = zyx[:, [2, 1, 0]] * size + origin + size / 2
        labels = []
        for sample, host_boxes in enumerate(batch["gt_boxes_host"]):
            own = centres[indices[:, 0] == sample]
            is_box = to_device(host_boxes[:, 3] > 0, boxes.device, keep_values=True)
            own_boxes = boxes[sample][is_box]
            if not len(own_boxes):
                labels.append(torch.zeros(own.shape[0], device=own.device))
                continue
            box = points_in_boxes(own.unsqueeze(0), own_boxes[:, :7].unsqueeze(0)).long().squeeze(0)
            labels.append((box >= 0).float())
        return torch.cat(labels, dim=0)


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
            settings.focal_encoder, in_channels, spatial_shape, spconv=spconv
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
