"""Dynamic voxels, a sparse backbone, window attention and an anchor head."""

import torch
import torch.nn.functional as F
import torch_scatter
from torch import nn

from ...ops.ingroup_inds.ranks import rank
from ...ops.roiaware_pool3d.points import points_in_boxes
from ...utils.sparse import spconv

CORNERS = torch.ones(11, 3, device="cuda")


class DynamicVfe(nn.Module):
    def __init__(self, num_features, channels, voxel_size, bounds, grid):
        super().__init__()
        self.voxel_size = torch.tensor(voxel_size).cuda()
        self.origin = torch.tensor(bounds[:3].tolist()).cuda()
        self.grid = torch.tensor(grid.tolist()).cuda()
        self.linear = nn.Linear(num_features + 3, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, batch):
        points = batch["points"]
        assert points.is_cuda
        cells = torch.floor((points[:, 1:4] - self.origin) / self.voxel_size).int()
        inside = ((cells >= 0) & (cells < self.grid)).all(dim=1)
        points, cells = points[inside], cells[inside]
        x, y, z = self.grid.tolist()
        merged = ((points[:, 0].int() * z + cells[:, 2]) * y + cells[:, 1]) * x + cells[:, 0]
        unique, inverse = torch.unique(merged, return_inverse=True)
        mean = torch_scatter.scatter_mean(points[:, 1:4], inverse, dim=0)
        features = torch.cat((points[:, 1:], points[:, 1:4] - mean[inverse]), dim=-1)
        features = F.relu(self.norm(self.linear(features)))
        batch["features"] = torch_scatter.scatter_max(features, inverse, dim=0)[0]
        unique = unique.int()
        coords = (unique // (x * y * z), unique // (x * y) % z, unique // x % y, unique % x)
        batch["coords"] = torch.stack(coords, dim=1)
        return batch


class Backbone(nn.Module):
    def __init__(self, channels, grid):
        super().__init__()
        self.shape = grid[::-1].tolist()
        self.net = spconv.SparseSequential(
            spconv.SubMConv3d(channels, 16, 3, padding=1, bias=False, indice_key="a"),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            spconv.SparseConv3d(16, 16, 3, stride=2, padding=1, bias=False, indice_key="b"),
            nn.BatchNorm1d(16),
            nn.ReLU(),
        )
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, batch):
        sparse = spconv.SparseConvTensor(
            batch["features"], batch["coords"], self.shape, batch["batch_size"]
        )
        out = self.net(sparse)
        window = out.indices[:, 0].long() * 4 + out.indices[:, 3].long() * 4 // out.spatial_shape[2]
        place = rank(window)
        slots = int(place.max()) + 1
        padded = out.features.new_zeros((int(window.max()) + 1, slots, 16))
        padded[window, place] = out.features
        mask = torch.ones(padded.shape[:2], dtype=torch.int, device=padded.device)
        mask[window, place] = 0
        attended, _ = self.attention(padded, padded, padded, key_padding_mask=mask)
        dense = out.replace_feature(attended[window, place]).dense()
        batch["map"] = dense.flatten(1, 2)
        return batch


class AnchorHead(nn.Module):
    def __init__(self, channels, height, width):
        super().__init__()
        self.anchors = torch.rand(height * width, 7).cuda()
        self.score = nn.Conv2d(channels, 1, 1)
        self.box = nn.Conv2d(channels, 7, 1)

    def forward(self, batch):
        scores = self.score(batch["map"]).permute(0, 2, 3, 1).flatten(1)
        boxes = self.box(batch["map"]).permute(0, 2, 3, 1).flatten(1, 2)
        points = batch["points"]
        labels = torch.zeros(scores.shape, device=scores.device)
        for sample in range(batch["batch_size"]):
            own = points[points[:, 0] == sample, 1:4]
            found = points_in_boxes(own[None], batch["gt_boxes"][sample : sample + 1, :, :7])
            foreground = int((found >= 0).sum())
            labels[sample, :foreground] = 1
            labels[sample] = torch.where(scores[sample] > 9, scores[sample], labels[sample])
        positive = torch.arange(boxes.shape[1], device=boxes.device) % 2 == 0
        self.ret = {"score": scores.view(-1), "labels": labels.view(-1)}
        offsets = boxes[:, positive] - self.anchors[positive]
        batch["loss"] = (
            F.binary_cross_entropy_with_logits(scores, labels.detach().clamp(0, 1))
            + offsets.abs().mean()
        )
        return batch


class OneStage(nn.Module):
    def __init__(self, cfg, num_class, dataset):
        super().__init__()
        self.register_buffer("global_step", torch.LongTensor(1).zero_())
        grid = dataset.grid_size
        self.vfe = DynamicVfe(
            dataset.point_feature_encoder.num_point_features,
            cfg.VFE.CHANNELS,
            dataset.voxel_size,
            dataset.point_cloud_range,
            grid,
        )
        self.backbone_3d = Backbone(cfg.VFE.CHANNELS, grid)
        half = (grid + 1) // 2
        self.dense_head = AnchorHead(16 * int(half[2]), int(half[1]), int(half[0]))

    def forward(self, batch):
        for module in (self.vfe, self.backbone_3d, self.dense_head):
            batch = module(batch)
        tb_dict = {"loss": batch["loss"].item()}
        return {"loss": batch["loss"]}, tb_dict, {}
