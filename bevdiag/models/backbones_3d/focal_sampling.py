"""What the focal encoder decides by, at random initialisation, computed for real on the CPU.

Only what the decisions depend on is computed: voxel features, the stem and the importance. The
scene's sparse pairs are found once and serve every seed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bevdiag.config.backbone_settings import FocalEncoderSettings, SdaVfeSettings
from bevdiag.config.model_settings import DataSettings
from bevdiag.models.backbones_3d.focal_dsvt import FocalSparseEncoder
from bevdiag.models.backbones_3d.focal_growth import OFFSETS, Coords, FocalDecision
from bevdiag.models.vfe.sda_vfe import PackedVoxels, SdaVfe, packed_voxel_features

Scores = NDArray[np.float32]
"""[N, 27] from 0 to 1: a voxel's 26 neighbours, then its own importance."""


@dataclass(frozen=True, slots=True, eq=False)
class _Neighbours:
    """Pairs of voxels in one direction: `target` [pairs] takes from `source` [pairs] there."""

    direction: tuple[int, int, int]
    target: Tensor
    source: Tensor


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
        coords: Coords = voxels.coords.numpy().astype(np.int32)
        self._neighbours = _find_neighbours(coords, self._spatial_shape)

    @torch.no_grad()
    def sample(self, seed: int) -> Scores:
        """Return what an encoder initialised with `seed` decides by in its first training step."""
        if seed in self.known:
            return self.known[seed]
        vfe, encoder = self._build(seed)
        features = packed_voxel_features(vfe, self._voxels)
        for i in range(0, len(encoder.conv_input), 3):
            conv, norm, activation = (encoder.conv_input[i + k] for k in range(3))
            features = activation(_normalize(norm, self._convolve(conv, features)))
        scores: Scores = self._convolve(encoder.conv_imp, features).sigmoid().numpy()
        return scores

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

    def _convolve(self, conv: Any, features: Tensor) -> Tensor:
        """Run a submanifold convolution 3x3x3; spconv's weights are [out, z, y, x, in]."""
        output: Tensor = features @ conv.weight[:, 1, 1, 1].T
        for pairs in self._neighbours:
            z, y, x = pairs.direction
            products = features[pairs.source] @ conv.weight[:, z + 1, y + 1, x + 1].T
            output.index_add_(0, pairs.target, products)
        return output


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
    fore = np.zeros(len(scores), bool)
    for sample in np.unique(coords[:, 0]):
        rows = np.flatnonzero(coords[:, 0] == sample)
        best = np.argsort(-importance[rows], kind="stable")
        fore[rows[best[: int(len(rows) * threshold)]]] = True
    return FocalDecision(fore, kernel_mask)


def _normalize(norm: nn.BatchNorm1d, features: Tensor) -> Tensor:
    return nn.functional.batch_norm(
        features, None, None, norm.weight, norm.bias, True, norm.momentum or 0.0, norm.eps
    )


def _find_neighbours(coords: Coords, spatial_shape: tuple[int, int, int]) -> list[_Neighbours]:
    """All pairs of voxels that touch. Half of the directions are searched, the others mirrored."""
    # One more cell at each end of an axis keeps a step beyond the edge out of the next row.
    extents = np.array(spatial_shape, np.int64) + 2
    b, z, y, x = coords.T.astype(np.int64)
    keys = ((b * extents[0] + z + 1) * extents[1] + y + 1) * extents[2] + x + 1
    order = np.argsort(keys)
    sorted_keys = keys[order]
    neighbours = []
    for step_z, step_y, step_x in OFFSETS[: len(OFFSETS) // 2].tolist():
        wanted = sorted_keys + (step_z * extents[1] + step_y) * extents[2] + step_x
        place = np.minimum(np.searchsorted(sorted_keys, wanted), len(keys) - 1)
        found = sorted_keys[place] == wanted
        target, source = map(torch.from_numpy, (order[found], order[place[found]]))
        neighbours += [
            _Neighbours((step_z, step_y, step_x), target, source),
            _Neighbours((-step_z, -step_y, -step_x), source, target),
        ]
    return neighbours
