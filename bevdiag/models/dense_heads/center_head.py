"""CenterHead: heat maps of box centres and box codes at every cell."""

from functools import partial

import torch
from torch import Tensor, nn

from bevdiag.config.head_settings import CenterHeadSettings, HeadBranchSettings
from bevdiag.config.model_settings import DataSettings
from bevdiag.models.contracts import Batch, DenseHead, Detections
from bevdiag.models.dense_heads.center_losses import (
    BevGrid,
    Floats,
    HeadTargets,
    boxes_of_head,
    decode_boxes,
    draw_targets,
    heatmap_loss,
    iou_loss,
    iou_regression_loss,
    on_device,
    regression_loss,
)
from bevdiag.models.dense_heads.detections import best_peaks, suppressed

_HEATMAP_BIAS = -2.19
"""Makes the sigmoid start near 0.1 (CenterNet)."""


class SeparateHead(nn.Module):
    """One branch of 3x3 convolutions for each name; `hm` is the heat map."""

    def __init__(
        self, channels: int, branches: dict[str, HeadBranchSettings], settings: CenterHeadSettings
    ) -> None:
        super().__init__()
        bias = settings.use_bias_before_norm
        self.branch_names = tuple(branches)
        for name, branch in branches.items():
            layers: list[nn.Module] = [
                nn.Sequential(
                    nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
                    nn.BatchNorm2d(channels, eps=settings.bn_eps, momentum=settings.bn_mom),
                    nn.ReLU(),
                )
                for _ in range(branch.num_conv - 1)
            ]
            last = nn.Conv2d(channels, branch.out_channels, 3, padding=1, bias=True)
            module = nn.Sequential(*layers, last)
            if name == "hm":
                assert last.bias is not None
                nn.init.constant_(last.bias, _HEATMAP_BIAS)
            else:
                module.apply(_init_regression)
            self.add_module(name, module)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """[B, C, H, W] to each branch's map."""
        return {name: getattr(self, name)(x) for name in self.branch_names}


def _init_regression(module: nn.Module) -> None:
    # On meta there is nothing to draw, and normal_ would import torch._dynamo to find that out.
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.constant_(module.bias, 0)


class CenterHead(DenseHead):
    """A shared convolution, one `SeparateHead` a group of classes, targets and losses.

    Predictions and targets stay with the head until the next forward pass replaces them, as in the
    original: they are alive through the optimizer's step.
    """

    def __init__(
        self,
        settings: CenterHeadSettings,
        in_channels: int,
        class_names: tuple[str, ...],
        data: DataSettings,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.data = data
        self.class_names = class_names
        channels = settings.shared_conv_channel
        norm = partial(nn.BatchNorm2d, eps=settings.bn_eps, momentum=settings.bn_mom)
        self.shared_conv = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=settings.use_bias_before_norm),
            norm(channels),
            nn.ReLU(),
        )
        self.heads_list = nn.ModuleList()
        for names in settings.class_names_each_head:
            heatmap = HeadBranchSettings(out_channels=len(names), num_conv=settings.num_hm_conv)
            branches = {**settings.separate_head_cfg.head_dict, "hm": heatmap}
            self.heads_list.append(SeparateHead(channels, branches, settings))
        self.grid: BevGrid | None = None

    def forward(self, batch: Batch) -> Batch:
        """Predict from `spatial_features_2d` and, in training, draw the targets."""
        x = self.shared_conv(batch["spatial_features_2d"])
        predictions = [head(x) for head in self.heads_list]
        if self.training:
            height, width = x.shape[2:]
            self.kept["targets"] = self._assign(batch["gt_boxes_host"], height, width, x.device)
        self.kept["predictions"] = predictions
        return batch

    def detect(self, batch: Batch) -> list[Detections]:
        stride = self.settings.target_assigner_config.feature_map_stride
        heads = []
        for predicted in self.kept["predictions"]:
            samples = []
            for found in best_peaks(predicted, stride, self.data, self.limits):
                kept = suppressed(found["scores"], found["boxes"], self.limits)
                samples.append({name: values[kept] for name, values in found.items()})
            heads.append(samples)
        return [
            {name: torch.cat([part[name] for part in parts], dim=0) for name in parts[0]}
            for parts in zip(*heads, strict=True)
        ]

    def loss(self) -> Tensor:
        """Return the last forward pass's loss, summed over the heads."""
        config = self.settings.loss_config.loss_weights
        loss: Tensor | int = 0
        predictions: list[dict[str, Tensor]] = self.kept["predictions"]
        targets: list[HeadTargets] = self.kept["targets"]
        for predicted, target in zip(predictions, targets, strict=True):
            predicted["hm"] = torch.clamp(predicted["hm"].sigmoid(), min=1e-4, max=1 - 1e-4)
            centre = heatmap_loss(predicted["hm"], target.heatmap, has_centres=target.has_centres)
            centre *= config.cls_weight
            order = self.settings.separate_head_cfg.head_order
            boxes = torch.cat([predicted[name] for name in order], dim=1)
            codes = regression_loss(boxes, target.mask, target.cells, target.boxes)
            location = (codes * codes.new_tensor(config.code_weights)).sum()
            location = location * config.loc_weight
            loss = loss + (centre + location)
            if "iou" in predicted:
                loss = self._with_overlap(loss, predicted, target)
        assert isinstance(loss, Tensor)
        return loss

    def _with_overlap(
        self, loss: Tensor, predicted: dict[str, Tensor], target: HeadTargets
    ) -> Tensor:
        """Add to the loss those of a head's predicted IoU and, if wanted, of its boxes' overlap."""
        assert self.grid is not None
        boxes = decode_boxes(predicted, self.grid).permute(0, 3, 1, 2)
        loss = loss + iou_loss(predicted["iou"], boxes.clone().detach(), target)
        if self.settings.iou_reg_loss:
            if target.num_objects:
                regression = iou_regression_loss(boxes, target)
                loss = loss + regression * self.settings.loss_config.loss_weights.loc_weight
            else:
                loss = loss + (boxes * 0.0).sum()
        return loss

    def _assign(
        self, gt_boxes: Floats, height: int, width: int, device: torch.device
    ) -> list[HeadTargets]:
        settings, data = self.settings.target_assigner_config, self.data
        grid = BevGrid(
            width,
            height,
            (data.point_cloud_range[0], data.point_cloud_range[1]),
            (data.voxel_size[0], data.voxel_size[1]),
            settings.feature_map_stride,
        )
        self.grid = grid
        targets = []
        for names in self.settings.class_names_each_head:
            samples = [
                draw_targets(
                    boxes_of_head(boxes, self.class_names, names), len(names), grid, settings
                )
                for boxes in gt_boxes
            ]
            targets.append(on_device(samples, device))
        return targets
