import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from bevdiag.config import load_config
from bevdiag.models.dense_heads import anchor_head

CONFIG = Path(__file__).parents[2] / "rules" / "pointpillar.yaml"
CHANNELS = 8


@pytest.fixture
def head() -> anchor_head.AnchorHead:
    config = load_config(CONFIG)
    return anchor_head.AnchorHead(
        config.model.dense_head, CHANNELS, config.class_names, config.data
    )


def test_the_joined_anchors_die_once_they_are_repeated(
    head: anchor_head.AnchorHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = np.zeros((2, 1, 8), np.float32)
    boxes[..., 3:6], boxes[..., 7] = 1, 1
    height, width = head.anchors[0].shape[1:3]
    features = torch.zeros(2, CHANNELS, height, width)
    given = torch.from_numpy(boxes)
    head({"spatial_features_2d": features, "gt_boxes": given, "gt_boxes_host": boxes})

    joined: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []
    join, box_loss = torch.cat, anchor_head.box_loss

    def cat(*args: object, **kwargs: object) -> torch.Tensor:
        made: torch.Tensor = join(*args, **kwargs)
        if not joined:  # the head's own comes first
            joined.append(weakref.ref(made))
        return made

    def looked(*args: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        alive.append(joined[0]() is not None)
        return box_loss(*args)

    monkeypatch.setattr(anchor_head, "box_loss", looked)
    monkeypatch.setattr(torch, "cat", cat)
    head._box_loss()
    assert alive == [False]
