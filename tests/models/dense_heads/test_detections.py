"""What an evaluation makes of a head's maps, with values."""

import math
from pathlib import Path

import pytest
import torch
import yaml

from bevdiag.config import load_config, read_document
from bevdiag.models.contracts import Limits
from bevdiag.models.dense_heads import anchor_head
from bevdiag.models.dense_heads.anchor_targets import encode_boxes
from bevdiag.models.dense_heads.detections import (
    best_of_anchors,
    best_peaks,
    decode,
    limits_of,
    suppressed,
)

CONFIG = Path(__file__).parents[2] / "rules" / "pointpillar.yaml"


@pytest.mark.parametrize("by_sincos", [False, True])
def test_decoding_undoes_encoding(by_sincos: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, anchors = (torch.rand(5, 9, generator=generator) + 0.5 for _ in range(2))
    codes = encode_boxes(boxes.clone(), anchors.clone(), by_sincos=by_sincos)
    torch.testing.assert_close(decode(codes[None], anchors[None], by_sincos)[0], boxes)


def test_the_best_come_first_and_no_more_than_may_stay() -> None:
    scores = torch.tensor([0.1, 0.9, 0.5, 0.7])
    boxes = torch.zeros(4, 7)
    assert suppressed(scores, boxes, Limits(before=3, after=2)).tolist() == [1, 3]
    assert suppressed(scores, boxes, Limits(before=3, after=9)).tolist() == [1, 3, 2]


def test_anchors_are_rated_by_their_best_class() -> None:
    scores = torch.tensor([[0.1, 0.8], [0.6, 0.2], [0.3, 0.4]])
    boxes = torch.arange(21.0).view(3, 7)
    found = best_of_anchors(scores, boxes, Limits(after=2))
    assert found["labels"].tolist() == [2, 1]
    assert torch.equal(found["boxes"], boxes[:2])


def test_peaks_of_a_heat_map_become_boxes_where_they_lie() -> None:
    data = load_config(CONFIG).data
    heat = torch.full((1, 2, 4, 6), -9.0)
    heat[0, 1, 2, 5], heat[0, 0, 1, 3] = 4.0, 2.0
    channels = {"center": 2, "center_z": 1, "dim": 3, "rot": 2, "vel": 2}
    predicted = {name: torch.zeros(1, count, 4, 6) for name, count in channels.items()}
    (found,) = best_peaks({**predicted, "hm": heat}, 8, data, Limits(objects=2))
    assert found["labels"].tolist() == [1, 0]
    low, size = data.point_cloud_range, data.voxel_size
    x, y = 5 * 8 * size[0] + low[0], 2 * 8 * size[1] + low[1]
    first = [x, y, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    torch.testing.assert_close(found["boxes"][0], torch.tensor(first))


def test_an_anchor_head_finds_boxes_in_every_sample() -> None:
    config = load_config(CONFIG)
    head = anchor_head.AnchorHead(
        config.model.dense_head, 8, config.class_names, config.data
    ).eval()
    head.limits = Limits(before=10, after=3)
    height, width = head.anchors[0].shape[1:3]
    batch = head({"spatial_features_2d": torch.rand(2, 8, height, width)})
    with torch.no_grad():
        found = head.detect(batch)
    assert [sample["boxes"].shape for sample in found] == [(3, 7), (3, 7)]
    assert all((sample["scores"] > 0).all() for sample in found)
    # Without a shift a box is its anchor, up to the direction's half turns.
    assert all(torch.isfinite(sample["boxes"]).all() for sample in found)
    assert all((sample["boxes"][:, 6].abs() < 2 * math.pi).all() for sample in found)


def test_limits_are_the_configs_own(tmp_path: Path) -> None:
    plain = Limits()
    assert limits_of(read_document(CONFIG, ())) == plain
    written = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    nms = {"NMS_PRE_MAXSIZE": 7, "NMS_POST_MAXSIZE": [3, 5]}
    written["MODEL"]["POST_PROCESSING"] = {"NMS_CONFIG": nms, "SCORE_THRESH": 0.1}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(written))
    found = limits_of(read_document(config, ()))
    assert found == Limits(before=7, after=5, objects=plain.objects)
    written["MODEL"]["DENSE_HEAD"]["POST_PROCESSING"] = {"MAX_OBJ_PER_SAMPLE": 83}
    config.write_text(yaml.safe_dump(written))
    assert limits_of(read_document(config, ())).objects == 83
