"""PointPillarScatter and PointPillarScatter3d: pillars and voxels onto the map."""

import torch

from bevdiag.config.bev_settings import PillarScatter3dSettings, PillarScatterSettings
from bevdiag.models.contracts import Batch, MapToBev


class PillarScatter(MapToBev):
    """Scatters `pillar_features` [N, C] into [B, C * nz, ny, nx], sample by sample.

    Args:
        settings: of either module.
        channels: C.
        grid_size: nx, ny, nz.
    """

    def __init__(
        self,
        settings: PillarScatterSettings | PillarScatter3dSettings,
        channels: int,
        grid_size: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.nx, self.ny, self.nz = grid_size
        self.channels = channels
        self.num_bev_features = settings.num_bev_features

    def real_bev_channels(self) -> int:
        """Channels of the map."""
        return self.channels * self.nz

    def forward(self, batch: Batch) -> Batch:
        """Add `spatial_features` [B, C * nz, ny, nx] from `pillar_features` and `voxel_coords`."""
        pillar_features, coords = batch["pillar_features"], batch["voxel_coords"]
        batch_size = batch["batch_size"]
        maps = []
        # One loop, as in the original: a sample's pillars live until the next one's are made.
        for sample in range(batch_size):
            cells = torch.zeros(
                self.channels,
                self.nz * self.nx * self.ny,
                dtype=pillar_features.dtype,
                device=pillar_features.device,
            )
            mask = coords[:, 0] == sample
            own = coords[mask, :]
            index = own[:, 1] * self.ny * self.nx + own[:, 2] * self.nx + own[:, 3]
            index = index.type(torch.long)
            pillars = pillar_features[mask, :].t()
            cells[:, index] = pillars
            maps.append(cells)
        stacked = torch.stack(maps, 0)
        batch["spatial_features"] = stacked.view(
            batch_size, self.channels * self.nz, self.ny, self.nx
        )
        return batch
