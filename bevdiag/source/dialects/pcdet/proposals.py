"""What a first detector's run would have left in a file, for a model that refines its boxes.

Multi-frame refiners (MPPNet) train on the boxes that another detector kept in each frame of a
sequence. Here every ground-truth box has a few boxes near it, the same in every frame.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bevdiag.scenes import Batch

PER_BOX = 4
"""Proposals of one ground-truth box, itself among them."""
_SHIFT = 0.15
"""Metres between them in x and y: each overlaps its box by more than half."""
_BOX_SIZE = 9
"""Centre, size, heading and velocity."""


class Proposals:
    """Makes the entries of a batch that a first detector's boxes stand behind.

    Args:
        batch: the scene, with the ground truth.
        config: the DATA_CONFIG section, which says how many frames a sequence has.
    """

    def __init__(self, batch: Batch, config: Any) -> None:
        first, last = (config.get("SEQUENCE_CONFIG") or {}).get("SAMPLE_OFFSET") or (0, 0)
        self._num_frames = int(last) - int(first) + 1
        truth = batch.gt_boxes
        self._labels = np.repeat(truth[..., -1], PER_BOX, axis=1)
        near: NDArray[Any] = np.repeat(truth[..., :7], PER_BOX, axis=1)
        near[..., :2] += _SHIFT * np.tile(np.arange(PER_BOX), truth.shape[1])[:, None]
        self._boxes = np.zeros((*near.shape[:2], _BOX_SIZE), np.float32)
        self._boxes[..., :7] = near

    def make(self, key: str) -> Any:
        """Make the entry as `load_data_to_gpu` leaves it; None for an unknown name.

        Boxes are [B, frames, proposals, 9], scores and labels [B, frames, proposals], poses
        [B, 4 * frames, 4].
        """
        batch_size, count = self._labels.shape
        scores = np.broadcast_to(np.linspace(0.9, 0.3, count, dtype=np.float32), self._labels.shape)
        made: dict[str, Callable[[], Any]] = {
            "roi_boxes": lambda: self._in_every_frame(self._boxes),
            "roi_scores": lambda: self._in_every_frame(scores),
            "roi_labels": lambda: self._in_every_frame(self._labels),
            "poses": lambda: torch.eye(4).repeat(batch_size, self._num_frames, 1),
            "sample_idx": lambda: np.zeros(batch_size, np.int64),
        }
        return made[key]() if key in made else None

    def _in_every_frame(self, values: NDArray[Any]) -> torch.Tensor:
        repeated = np.repeat(values[:, None], self._num_frames, axis=1)
        return torch.from_numpy(repeated.astype(np.float32))
