"""Proposals by suppression, sampled by overlap, pooled from points."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...ops.iou3d_nms.boxes import overlaps, suppress
from ...ops.pointnet2_stack.groups import Group, ball, farthest

SLOTS = 8


class TwoStage(nn.Module):
    def __init__(self, cfg, num_class, dataset):
        super().__init__()
        self.kept, self.sampled = cfg.NMS_POST_MAXSIZE, cfg.ROI_PER_IMAGE
        num_features = dataset.point_feature_encoder.num_point_features
        self.encoder = nn.Linear(num_features, 16)
        self.box = nn.Linear(16, 7)
        self.roi_head = nn.Linear(16, 8)

    def forward(self, batch):
        points = batch["points"]
        features = F.relu(self.encoder(points[:, 1:]))
        boxes, scores = self.box(features), features.max(dim=1)[0]
        rois, targets = self.sample(boxes.detach(), scores.detach(), batch["gt_boxes"][0])
        pooled = self.pool(points[:, 1:4].contiguous(), features, len(rois))
        out = self.roi_head(pooled)
        foreground = targets > 0
        loss = F.binary_cross_entropy_with_logits(out[:, 0], targets)
        loss = loss + (out[foreground, 1:] - rois[foreground]).abs().mean() + boxes.abs().mean()
        return {"loss": loss}, {}, {}

    @torch.no_grad()
    def sample(self, boxes, scores, gt_boxes):
        best = torch.topk(scores, k=min(64, len(scores)))[1]
        chosen = suppress(boxes[best], scores[best], 0.7)[: self.kept]
        rois = boxes.new_zeros((self.kept, 7))
        rois[: len(chosen)] = boxes[best][chosen]
        overlap = overlaps(rois, gt_boxes[:, :7]).max(dim=1)[0]
        near = (overlap >= 0.5).nonzero().view(-1)
        far = (overlap < 0.5).nonzero().view(-1)
        some = torch.from_numpy(np.random.permutation(near.numel())).type_as(overlap).long()
        near = near[some[: self.sampled // 2]]
        far = far[torch.randint(0, far.numel(), size=(self.sampled - near.numel(),)).long()]
        picked = torch.cat((near, far))
        return rois[picked], (overlap[picked] >= 0.5).float()

    def pool(self, xyz, features, count):
        centres = xyz[farthest(xyz, count)]
        counts = torch.cuda.IntTensor([len(xyz)])
        centre_counts = xyz.new_zeros(1).int().fill_(count)
        idx = ball(1.0, SLOTS, xyz, counts, centres, centre_counts)
        return Group.apply(features, counts, idx, centre_counts).max(dim=2)[0]
