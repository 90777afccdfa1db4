"""AnchorHeadSingle: rates and shifts anchors at every cell of the map; its losses."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bevdiag.config.head_settings import AnchorHeadSettings
from bevdiag.config.model_settings import DataSettings
from bevdiag.errors import ConfigError
from bevdiag.models.contracts import Batch, DenseHead, Detections
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
        self.num_codes = settings.target_assigner_config.box_coder_config.num_codes
        host_anchors = [
            make_anchors(entry, data, self.num_codes) for entry in settings.anchor_generator_config
        ]
        for number, anchors in enumerate(host_anchors):
            on_device = to_device(anchors.numpy(), torch.get_default_device())
            self.register_buffer(f"anchors_{number}", on_device, persistent=False)
        weights = torch.tensor(settings.loss_config.loss_weights.code_weights)
        self.register_buffer("code_weights", weights, persistent=False)
        self.assigner = AnchorAssigner(settings, host_anchors, class_names)
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
        count = len(self.settings.anchor_generator_config)
        return [getattr(self, f"anchors_{number}") for number in range(count)]

    def _anchors_of_batch(self, batch_size: int) -> Tensor:
        """All anchors for each sample, [B, N, codes]."""
        # As in OpenPCDet, the joined anchors die once they are repeated.
        anchors = torch.cat(self.anchors, dim=-3)
        return anchors.view(1, -1, anchors.shape[-1]).repeat(batch_size, 1, 1)

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
        anchors = self._anchors_of_batch(batch_size)
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
        anchors = self._anchors_of_batch(batch_size)
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


_ALPHA, _GAMMA = 0.25, 2.0
_BETA = 1 / 9
"""Where the smooth L1 loss turns from a parabola into a line."""


def classification_loss(logits: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Focal loss over anchors, summed; positive and negative ones weigh 1 / positives.

    Args:
        logits: [B, H, W, anchors a cell * classes].
        labels: int32 [B, N], the class from 1, 0 for background, -1 for neither.
        num_classes: classes.
    """
    batch_size = logits.shape[0]
    cared = labels >= 0
    positives = labels > 0
    negatives = labels == 0
    negative_weights = negatives * 1.0
    weights = (negative_weights + 1.0 * positives).float()
    box_weights = positives.float()
    if num_classes == 1:
        labels.masked_fill_(positives, 1)
    num_positives = positives.sum(1, keepdim=True).float()
    box_weights /= torch.clamp(num_positives, min=1.0)
    weights /= torch.clamp(num_positives, min=1.0)
    targets = labels * cared.type_as(labels)
    one_hot = torch.zeros(
        *targets.shape, num_classes + 1, dtype=logits.dtype, device=targets.device
    )
    one_hot.scatter_(-1, targets.unsqueeze(dim=-1).long(), 1.0)
    logits = logits.view(batch_size, -1, num_classes)
    return _focal_loss(logits, one_hot[..., 1:], weights).sum() / batch_size


def _focal_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Of each class of each anchor, [B, N, classes]; `weights` is [B, N]."""
    probability = torch.sigmoid(logits)
    alpha = target * _ALPHA + (1 - target) * (1 - _ALPHA)
    miss = target * (1.0 - probability) + (1.0 - target) * probability
    focal_weight = alpha * torch.pow(miss, _GAMMA)
    cross_entropy = _cross_entropy_of_logits(logits, target)
    loss = focal_weight * cross_entropy
    return loss * weights.unsqueeze(-1)


def _cross_entropy_of_logits(logits: Tensor, target: Tensor) -> Tensor:
    hinge = torch.clamp(logits, min=0) - logits * target
    return hinge + torch.log1p(torch.exp(-torch.abs(logits)))


def box_loss(
    codes: Tensor, targets: Tensor, labels: Tensor, code_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Smooth L1 loss over the codes of positive anchors, summed, and the positive anchors' mask.

    Args:
        codes: [B, N, codes].
        targets: [B, N, codes].
        labels: int32 [B, N].
        code_weights: [codes].
    """
    batch_size = codes.shape[0]
    positives = labels > 0
    weights = positives.float()
    num_positives = positives.sum(1, keepdim=True).float()
    weights /= torch.clamp(num_positives, min=1.0)
    codes, targets = with_sine_difference(codes, targets)
    loss = _smooth_l1(codes, targets, weights, code_weights)
    return loss.sum() / batch_size, positives


def with_sine_difference(codes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Replace the heading codes so that their difference is the sine of the headings'."""
    predicted = torch.sin(codes[..., 6:7]) * torch.cos(targets[..., 6:7])
    wanted = torch.cos(codes[..., 6:7]) * torch.sin(targets[..., 6:7])
    codes = torch.cat([codes[..., :6], predicted, codes[..., 7:]], dim=-1)
    targets = torch.cat([targets[..., :6], wanted, targets[..., 7:]], dim=-1)
    return codes, targets


def _smooth_l1(codes: Tensor, target: Tensor, weights: Tensor, code_weights: Tensor) -> Tensor:
    target = torch.where(torch.isnan(target), codes, target)
    difference = codes - target
    difference = difference * code_weights.view(1, 1, -1)
    distance = torch.abs(difference)
    loss = torch.where(distance < _BETA, 0.5 * distance**2 / _BETA, distance - 0.5 * _BETA)
    return loss * weights.unsqueeze(-1)


def direction_loss(logits: Tensor, targets: Tensor, positives: Tensor) -> Tensor:
    """Cross entropy over the bins of the heading, summed over positive anchors.

    Args:
        logits: [B, N, bins].
        targets: one-hot [B, N, bins].
        positives: bool [B, N].
    """
    batch_size = logits.shape[0]
    weights = positives.type_as(logits)
    weights /= torch.clamp(weights.sum(-1, keepdim=True), min=1.0)
    bins = targets.argmax(dim=-1)
    loss = functional.cross_entropy(logits.permute(0, 2, 1), bins, reduction="none") * weights
    return loss.sum() / batch_size


def direction_targets(anchors: Tensor, targets: Tensor, *, offset: float, num_bins: int) -> Tensor:
    """Which bin the box's heading lies in, one-hot [B, N, bins].

    Args:
        anchors: [B, N, codes].
        targets: [B, N, codes].
        offset: where the first bin starts, radians.
        num_bins: bins.
    """
    heading = targets[..., 6] + anchors[..., 6]
    turned = limit_period(heading - offset, offset=0, period=2 * math.pi)
    bins = torch.floor(turned / (2 * math.pi / num_bins)).long()
    bins = torch.clamp(bins, min=0, max=num_bins - 1)
    one_hot = torch.zeros(*bins.shape, num_bins, dtype=anchors.dtype, device=bins.device)
    one_hot.scatter_(-1, bins.unsqueeze(dim=-1).long(), 1.0)
    return one_hot
