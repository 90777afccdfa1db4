"""AnchorHeadSingle: rates and shifts anchors at every cell of the map."""

import math

import torch
from torch import Tensor, nn

from bevdiag.config.head_settings import AnchorHeadSettings
from bevdiag.config.model_settings import DataSettings
from bevdiag.errors import ConfigError
from bevdiag.models.contracts import Batch, DenseHead, Detections
from bevdiag.models.dense_heads.anchor_losses import (
    box_loss,
    classification_loss,
    direction_loss,
    direction_targets,
)
from bevdiag.models.dense_heads.anchor_targets import AnchorAssigner, limit_period, make_anchors
from bevdiag.models.dense_heads.detections import best_of_anchors, decode
from bevdiag.models.sized_ops import to_device

_PRIOR = 0.01
"""The probability that every anchor starts with."""


class AnchorHead(DenseHead):
    """1x1 convolutions for classes, box codes and (if the config has the key) directions.

    Predictions and targets stay with the head, each until the next forward pass makes its like.
    Anchors lie on the device as buffers.
    """

    code_weights: Tensor

    def __init__(
        self,
        settings: AnchorHeadSettings,
        in_channels: int,
        class_names: tuple[str, ...],
        data: DataSettings,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.num_classes = len(class_names)
        targets = settings.target_assigner_config
        coder = targets.box_coder_config
        self.num_codes = coder.num_codes
        host_anchors = [
            make_anchors(entry, data, self.num_codes) for entry in settings.anchor_generator_config
        ]
        for number, anchors in enumerate(host_anchors):
            on_device = to_device(anchors.numpy(), torch.get_default_device())
            self.register_buffer(f"anchors_{number}", on_device, persistent=False)
        weights = torch.tensor(settings.loss_config.loss_weights.code_weights)
        self.register_buffer("code_weights", weights, persistent=False)
        self.assigner = AnchorAssigner(
            settings.anchor_generator_config,
            host_anchors,
            class_names,
            num_codes=self.num_codes,
            by_sincos=coder.encode_angle_by_sincos,
            norm_by_num_examples=targets.norm_by_num_examples,
        )
        count = settings.num_anchors
        self.conv_cls = nn.Conv2d(in_channels, count * self.num_classes, 1)
        self.conv_box = nn.Conv2d(in_channels, count * self.num_codes, 1)
        self.conv_dir_cls = None
        if settings.use_direction_classifier is not None:
            self.conv_dir_cls = nn.Conv2d(in_channels, count * settings.num_dir_bins, 1)
        assert self.conv_cls.bias is not None
        nn.init.constant_(self.conv_cls.bias, -math.log((1 - _PRIOR) / _PRIOR))
        if not self.conv_box.weight.is_meta:
            nn.init.normal_(self.conv_box.weight, mean=0, std=0.001)

    @property
    def anchors(self) -> list[Tensor]:
        """Each class's, [1, H, W, sizes, rotations, codes]."""
        return [getattr(self, f"anchors_{i}") for i in range(len(self._classes))]

    @property
    def _classes(self) -> tuple[object, ...]:
        return self.settings.anchor_generator_config

    def forward(self, batch: Batch) -> Batch:
        """Predict from `spatial_features_2d` and assign the targets.

        Raises:
            ConfigError: the map is not of the size that the anchors are made for.
        """
        x = batch["spatial_features_2d"]
        self._check_size(x)
        classes, codes = self.conv_cls(x), self.conv_box(x)
        classes = classes.permute(0, 2, 3, 1).contiguous()
        codes = codes.permute(0, 2, 3, 1).contiguous()
        self.kept["classes"] = classes
        self.kept["codes"] = codes
        if self.conv_dir_cls is not None:
            directions = self.conv_dir_cls(x)
            directions = directions.permute(0, 2, 3, 1).contiguous()
            self.kept["directions"] = directions
        if not self.training:
            return batch
        targets = self.assigner.assign(self.anchors, batch["gt_boxes"], batch["gt_boxes_host"])
        self.kept["labels"] = targets.labels
        self.kept["code_targets"] = targets.codes
        self.kept["weights"] = targets.weights
        return batch

    def detect(self, batch: Batch) -> list[Detections]:
        classes, codes = self.kept["classes"], self.kept["codes"]
        batch_size = len(classes)
        anchors = torch.cat(self.anchors, dim=-3)
        anchors = anchors.view(1, -1, anchors.shape[-1]).repeat(batch_size, 1, 1)
        scores = classes.view(batch_size, -1, self.num_classes).float()
        coder = self.settings.target_assigner_config.box_coder_config
        boxes = decode(
            codes.view(batch_size, -1, self.num_codes), anchors, coder.encode_angle_by_sincos
        )
        if self.conv_dir_cls is not None:
            settings = self.settings
            directions = self.kept["directions"].view(batch_size, -1, settings.num_dir_bins)
            bins = torch.max(directions, dim=-1)[1]
            period, offset = 2 * math.pi / settings.num_dir_bins, settings.dir_offset
            turned = limit_period(boxes[..., 6] - offset, offset=0.0, period=period)
            boxes[..., 6] = turned + offset + period * bins.to(boxes.dtype)
        batch["batch_cls_preds"], batch["batch_box_preds"] = scores, boxes
        return [
            best_of_anchors(torch.sigmoid(rated), placed, self.limits)
            for rated, placed in zip(scores, boxes, strict=True)
        ]

    def loss(self) -> Tensor:
        """Of classes, boxes and directions."""
        weights = self.settings.loss_config.loss_weights
        loss = classification_loss(self.kept["classes"], self.kept["labels"], self.num_classes)
        loss = loss * weights.cls_weight
        return loss + self._box_loss()

    def _box_loss(self) -> Tensor:
        weights = self.settings.loss_config.loss_weights
        codes, targets = self.kept["codes"], self.kept["code_targets"]
        batch_size = codes.shape[0]
        # Under one name, as in OpenPCDet: the joined anchors die once they are repeated.
        anchors = torch.cat(self.anchors, dim=-3)
        anchors = anchors.view(1, -1, anchors.shape[-1]).repeat(batch_size, 1, 1)
        codes = codes.view(batch_size, -1, self.num_codes)
        loss, positives = box_loss(codes, targets, self.kept["labels"], self.code_weights)
        loss = loss * weights.loc_weight
        if self.conv_dir_cls is not None:
            bins = self.settings.num_dir_bins
            wanted = direction_targets(
                anchors, targets, offset=self.settings.dir_offset, num_bins=bins
            )
            logits = self.kept["directions"].view(batch_size, -1, bins)
            loss += direction_loss(logits, wanted, positives) * weights.dir_weight
        return loss

    def _check_size(self, x: Tensor) -> None:
        expected, found = tuple(self.anchors[0].shape[1:3]), tuple(x.shape[2:])
        if expected != found:
            stride = self.settings.anchor_generator_config[0].feature_map_stride
            raise ConfigError(
                f"anchors of feature_map_stride {stride} are for a map of {expected[0]} x "
                f"{expected[1]} cells, but the 2D backbone makes {found[0]} x {found[1]}",
                key="MODEL.DENSE_HEAD.ANCHOR_GENERATOR_CONFIG",
            )
