import numpy as np
import pytest

from bevdiag.models.dense_heads.anchor_targets import count_matches, sides_of
from tests.models.one_stage_configs import (
    build,
    prepare,
    tensors,
)


@pytest.mark.parametrize("name", ["second", "pointpillar"])
def test_anchors_that_match_are_counted_as_the_device_would(name, monkeypatch):
    settings, data, batch = prepare(name)
    detector = build(settings, data, "cpu")
    head = detector.dense_head
    anchors = [each.reshape(-1, head.num_codes) for each in head.anchors]
    for index in range(2):
        # A box that lies on an anchor, so that some match without being forced to.
        batch.gt_boxes[:, index] = [*anchors[index][101], index + 1]
    found = []

    def spied(values, size):
        assert size is None
        rows = values.nonzero()
        found.append(len(rows))
        return rows

    monkeypatch.setattr("bevdiag.models.dense_heads.anchor_targets.nonzero", spied)
    detector(tensors(batch, "cpu"))

    counted = []
    for boxes in batch.gt_boxes:
        used = boxes[boxes[:, -1] > 0]
        for index, entry in enumerate(settings.dense_head.anchor_generator_config):
            own = used[used[:, -1] == index + 1]
            counts = count_matches(sides_of(anchors[index]), own[:, :-1], entry)
            assert counts.matched > 0
            matched = [counts.matched] * 3
            counted += [counts.forced, *matched, counts.background, counts.foreground]
    assert found == counted


def test_targets_of_a_class_without_boxes_are_background():
    settings, data, batch = prepare("second")
    batch.gt_boxes[..., -1] = np.minimum(batch.gt_boxes[..., -1], 1)
    detector = build(settings, data, "cpu")
    detector(tensors(batch, "cpu"))

    labels = detector.dense_head.kept["labels"].view(2, 16, 16, 2, 2)
    assert (labels[..., 0, :] == 1).any()
    assert not labels[..., 1, :].any()
