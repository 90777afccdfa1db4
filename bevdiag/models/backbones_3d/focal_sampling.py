"""What the focal encoder decides by, at random initialisation, computed for real on the CPU.

Only what the decisions depend on is computed: voxel features, the stem and the importance. The
scene's sparse pairs are found once and serve every seed.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.config.backbone_settings import FocalEncoderSettings, SdaVfeSettings
from bevdiag.config.model_settings import DataSettings
from bevdiag.models.backbones_3d.focal_dsvt import FocalSparseEncoder
from bevdiag.models.backbones_3d.focal_growth import Coords, FocalDecision, first_of_each_sample
from bevdiag.models.vfe.sda_vfe import PackedVoxels, SdaVfe, packed_voxel_features

Scores = NDArray[np.float32]
"""[N, 27] from 0 to 1: a voxel's 26 neighbours, then its own importance."""


class ScoreSampler:
    """Draws scores for one scene; a seed gives the same each time, whatever the thresholds.

    The weights are those of the VFE and the encoder built one after the other on the CPU with that
    seed, which is what a training run started with it would build.

    Attributes:
        known: by seed, what need not be computed again.
    """

    def __init__(
        self,
        vfe: SdaVfeSettings,
        encoder: FocalEncoderSettings,
        data: DataSettings,
        voxels: PackedVoxels,
        *,
        spconv: Any,
    ) -> None:
        """Find the scene's pairs. `spconv` is a namespace for the CPU."""
        self.known: dict[int, Scores] = {}
        self._vfe = vfe
        self._encoder = encoder
        self._data = data
        self._voxels = voxels
        self._spconv = spconv
        x, y, z = data.grid_size
        self._spatial_shape = z, y, x
        self._coords = voxels.coords.int()
        with torch.random.fork_rng(devices=[]):
            touch = spconv.SubMConv3d(1, 1, 3, indice_key="touch")
        pairs = touch(self._sparse(torch.zeros(len(self._coords), 1), {})).indice_dict["touch"]
        self._pairs = dict.fromkeys(("subm1", "imp"), pairs)

    @torch.no_grad()
    def sample(self, seed: int) -> Scores:
        """Return what an encoder initialised with `seed` decides by in its first training step."""
        if seed in self.known:
            return self.known[seed]
        vfe, encoder = self._build(seed)
        features = packed_voxel_features(vfe, self._voxels)
        x = encoder.conv_input(self._sparse(features, self._pairs))
        scores: Scores = encoder.conv_imp(x).features.sigmoid().numpy()
        return scores

    def _sparse(self, features: Tensor, pairs: dict[str, Any]) -> Any:
        num_samples = 1 + int(self._coords[:, 0].max())
        return self._spconv.SparseConvTensor(
            features, self._coords, list(self._spatial_shape), num_samples, indice_dict=pairs
        )

    def _build(self, seed: int) -> tuple[SdaVfe, FocalSparseEncoder]:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(seed)
            vfe = SdaVfe(self._vfe, len(self._data.point_features))
            encoder = FocalSparseEncoder(
                self._encoder,
                vfe.num_point_features,
                self._spatial_shape,
                spconv=self._spconv,
            )
        return vfe, encoder


def decided(scores: Scores, coords: Coords, *, threshold: float, topk: bool) -> FocalDecision:
    """Turn scores into a decision.

    Args:
        scores: of the voxels.
        coords: [N, 4]: sample, z, y, x.
        threshold: of the neighbours' scores, and of the importance.
        topk: whether the foreground is this share of each sample's voxels instead.
    """
    limit = np.float32(threshold)
    importance, kernel_mask = scores[:, -1], scores[:, :-1] >= limit
    if not topk:
        return FocalDecision(importance > limit, kernel_mask)
    return FocalDecision(first_of_each_sample(coords, -importance, threshold), kernel_mask)
