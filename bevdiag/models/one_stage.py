"""CenterPoint, PointPillar and SECONDNet: the modules in a row, and the head's loss."""

import torch
from torch import Tensor, nn

from bevdiag.models.backbones_2d.base_bev_backbone import BevLevels
from bevdiag.models.contracts import Batch, DenseHead, Detections, MapToBev
from bevdiag.models.interfaces import ChannelMismatch


class OneStageDetector(nn.Module):
    """A detector: forward returns the loss, in evaluation the boxes of each sample.

    A 3D backbone's own loss is not part of it, as in the original.
    """

    def __init__(
        self,
        vfe: nn.Module,
        backbone_3d: nn.Module | None,
        map_to_bev: MapToBev,
        backbone_2d: BevLevels,
        dense_head: DenseHead,
    ) -> None:
        super().__init__()
        self.register_buffer("global_step", torch.zeros(1, dtype=torch.int64))
        self.vfe = vfe
        self.backbone_3d = backbone_3d
        self.map_to_bev_module = map_to_bev
        self.backbone_2d = backbone_2d
        self.dense_head = dense_head

    def check_channels(self) -> int:
        """Channels of the bird's-eye-view map.

        Raises:
            ChannelMismatch: the map has other channels than the config declares.
        """
        found = self.map_to_bev_module.real_bev_channels()
        if found != self.backbone_2d.in_channels:
            raise ChannelMismatch("map_to_bev_module", self.backbone_2d.in_channels, found)
        return found

    def forward(self, batch: Batch) -> Tensor | list[Detections]:
        """Return the loss of a batch (see `bevdiag.models.contracts`), or what is found in it.

        Raises:
            ChannelMismatch: before anything runs; the original fails in the first 2D convolution.
        """
        self.check_channels()
        for module in self.children():
            batch = module(batch)
        return self.dense_head.loss() if self.training else self.dense_head.detect(batch)
