"""CenterHead: heat maps of box centres and box codes at every cell."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.config.head_settings import CenterHeadSettings, HeadBranchSettings
from bevdiag.config.model_settings import DataSettings
from bevdiag.errors import ConfigError
from bevdiag.models.contracts import Batch, DenseHead, Detections, Limits
from bevdiag.models.dense_heads.center_boxes import (
    Objects,
    decode_boxes,
    heatmap_loss,
    iou_loss,
    iou_regression_loss,
    regression_loss,
)
from bevdiag.models.dense_heads.center_targets import (
    BevGrid,
    Floats,
    SampleTargets,
    boxes_of_head,
    draw_targets,
)
from bevdiag.models.dense_heads.detections import best_peaks, suppressed
from bevdiag.models.sized_ops import to_device

_HEATMAP_BIAS = -2.19
"""Makes the sigmoid start near 0.1 (CenterNet)."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadTargets:
    """A head's targets, stacked over the batch; see `SampleTargets`."""

    heatmap: Tensor
    boxes: Tensor
    cells: Tensor
    mask: Tensor
    source_boxes: Tensor
    has_centres: bool
    num_objects: int


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
        self.class_names_each_head = tuple(
            tuple(name for name in names if name in class_names)
            for names in settings.class_names_each_head
        )
        if sum(map(len, self.class_names_each_head)) != len(class_names):
            raise ConfigError(
                f"the heads' classes {list(map(list, self.class_names_each_head))} do not share "
                f"out CLASS_NAMES {list(class_names)}: name every class in one head",
                key="MODEL.DENSE_HEAD.CLASS_NAMES_EACH_HEAD",
            )
        channels = settings.shared_conv_channel
        norm = partial(nn.BatchNorm2d, eps=settings.bn_eps, momentum=settings.bn_mom)
        self.shared_conv = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=settings.use_bias_before_norm),
            norm(channels),
            nn.ReLU(),
        )
        self.heads_list = nn.ModuleList()
        for names in self.class_names_each_head:
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
            peaks = best_peaks(predicted, stride, self.data, self.limits)
            heads.append([_kept(found, self.limits) for found in peaks])
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
        objects = Objects(target.mask, target.cells, target.source_boxes, target.num_objects)
        loss = loss + iou_loss(predicted["iou"], boxes.clone().detach(), objects)
        if self.settings.iou_reg_loss:
            if target.num_objects:
                regression = iou_regression_loss(boxes, objects)
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
        for names in self.class_names_each_head:
            samples = [
                draw_targets(
                    boxes_of_head(boxes, self.class_names, names), len(names), grid, settings
                )
                for boxes in gt_boxes
            ]
            targets.append(_to_device(samples, device))
        return targets


def _kept(found: Detections, limits: Limits) -> Detections:
    """Leave out what overlaps something better."""
    kept = suppressed(found["scores"], found["boxes"], limits)
    return {name: values[kept] for name, values in found.items()}


def _to_device(samples: list[SampleTargets], device: torch.device) -> HeadTargets:
    """Each sample's arrays go to the device one by one and are stacked there."""
    on_device = [
        [
            to_device(array, device)
            for array in (s.heatmap, s.boxes, s.cells, s.mask, s.source_boxes)
        ]
        for s in samples
    ]
    heatmap, boxes, cells, mask, source_boxes = (
        torch.stack(list(column), dim=0) for column in zip(*on_device, strict=True)
    )
    has_centres = any(bool(np.any(sample.heatmap == 1)) for sample in samples)
    num_objects = sum(int(sample.mask.sum()) for sample in samples)
    return HeadTargets(heatmap, boxes, cells, mask, source_boxes, has_centres, num_objects)
