"""FocalSparseEncoder: a sparse stem, then a convolution on the voxels it chose to keep and grow."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.config.settings import FocalEncoderSettings
from bevdiag.models.backbones_3d.focal_growth import (
    OFFSETS,
    Coords,
    FocalDecision,
    Growth,
    grow,
)
from bevdiag.models.backbones_3d.focal_split import (
    AssumedDecisions,
    Decisions,
    EvaluatedDecisions,
    merge_repeats,
    split_voxels,
)
from bevdiag.models.backbones_3d.points_in_boxes import points_in_boxes
from bevdiag.models.batch import Batch
from bevdiag.models.values import to_device, without_values
from bevdiag.models.wiring import FOCAL_CHANNELS


class FocalSparseEncoder(nn.Module):
    """Submanifold stem, importance of every voxel and its 26 neighbours, growth, convolution.

    Which voxels it keeps depends on feature values: on meta tensors `set_decision` must have told.

    Adds `encoded_spconv_tensor` (C = 128, the full grid) and, in training, the importance's focal
    loss as `loss_box_of_backbone`. The detector's loss leaves the latter out, as in the report's
    repository, so the importance convolution gets no gradient.
    """

    offsets: Tensor

    def __init__(
        self,
        settings: FocalEncoderSettings,
        in_channels: int,
        spatial_shape: tuple[int, int, int],
        *,
        spconv: Any,
        device: torch.device,
    ) -> None:
        """Build the layers. `spatial_shape` is z, y, x; `spconv` is like spconv.pytorch."""
        super().__init__()
        self.settings = settings
        self.spconv = spconv
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
            conv(64, FOCAL_CHANNELS, indice_key="focal"), norm(FOCAL_CHANNELS), nn.ReLU()
        )
        self.num_point_features = FOCAL_CHANNELS
        offsets = torch.tensor(OFFSETS, dtype=torch.float32, device=device)
        self.register_buffer("offsets", offsets)
        self.voxel_size = torch.tensor(settings.voxel_size, device=device)
        self.point_cloud_range = torch.tensor(settings.point_cloud_range, device=device)
        self._decision: FocalDecision | None = None
        self._growth: tuple[Coords, Growth] | None = None

    def set_decision(self, decision: FocalDecision | None) -> None:
        """Say what the values decide, for meta tensors; None forgets it."""
        self._decision = decision
        self._growth = None

    def forward(self, batch: Batch) -> Batch:
        """Add `encoded_spconv_tensor`."""
        batch_size = batch["batch_size"]
        x = self._sparse(batch["voxel_features"], batch["voxel_coords"].int(), batch_size)
        x = self.conv_input(x)
        logits = self.conv_imp(x).features
        importance = torch.sigmoid(logits[:, -1])
        if self.training:
            loss = self._importance_loss(importance, batch, x.indices)
            batch["loss_box_of_backbone"] = batch.get("loss_box_of_backbone", 0) + loss

        growth = self._growth_of(x.indices, batch_size) if logits.is_meta else None
        decisions = self._decisions(growth, batch_size)
        splits = [
            split_voxels(x, sample, logits, self.offsets, decision)
            for sample, decision in enumerate(decisions)
        ]
        fore = torch.cat([split.fore for split in splits], dim=0)
        fore_coords = torch.cat([split.fore_coords for split in splits], dim=0)
        back = torch.cat([split.back for split in splits], dim=0)
        back_coords = torch.cat([split.back_coords for split in splits], dim=0)
        joined = torch.cat([fore, back], dim=0)
        joined_coords = torch.cat([fore_coords, back_coords], dim=0)
        kept, kept_coords = [], []
        for sample, decision in enumerate(decisions):
            rows = _rows_of_sample(joined_coords, splits, sample)
            features, coords, _ = merge_repeats(
                joined[rows], joined_coords[rows], None, decision.num_kept, flip=False
            )
            kept.append(features)
            kept_coords.append(coords)
        all_kept = torch.cat(kept, dim=0)
        if growth is None:
            all_coords = torch.cat(kept_coords, dim=0).int()
        else:
            all_coords = to_device(growth.coords, logits.device, keep_values=True)
        grown = self._sparse(all_kept, all_coords, batch_size)
        batch["encoded_spconv_tensor"] = self.conv_focal(grown)
        batch["encoded_spconv_tensor_stride"] = 1
        return batch

    def _sparse(self, features: Tensor, indices: Tensor, batch_size: int) -> Any:
        shape = list(self.spatial_shape)
        return self.spconv.SparseConvTensor(features, indices, shape, batch_size)

    def _decisions(self, growth: Growth | None, batch_size: int) -> list[Decisions]:
        threshold, topk = self.settings.focal_threshold, self.settings.focal_topk
        if growth is None:
            return [EvaluatedDecisions(threshold, topk)] * batch_size
        return [AssumedDecisions(sample, threshold, topk) for sample in growth.samples]

    def _growth_of(self, indices: Tensor, batch_size: int) -> Growth:
        if self._decision is None:
            raise RuntimeError(
                "FocalSparseEncoder: which voxels are kept depends on feature values, which meta "
                "tensors do not have: call set_decision() first"
            )
        coords: Coords = indices.numpy()
        if self._growth is None or not np.array_equal(self._growth[0], coords):
            growth = grow(coords, self._decision, self.spatial_shape, batch_size)
            self._growth = coords.copy(), growth
        return self._growth[1]

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


def _rows_of_sample(joined_coords: Tensor, splits: list[Any], sample: int) -> Tensor:
    if not joined_coords.is_meta:
        return joined_coords[:, 0] == sample
    sizes = [len(split.fore_coords) for split in splits] + [len(s.back_coords) for s in splits]
    owner = np.tile(np.arange(len(splits)), 2)
    return to_device(np.repeat(owner, sizes) == sample, joined_coords.device, keep_values=True)
