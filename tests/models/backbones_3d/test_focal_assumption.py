import numpy as np
import pytest

from bevdiag.models.backbones_3d.focal_assumption import decision_for_count
from bevdiag.models.backbones_3d.focal_growth import (
    FocalDecision,
    count,
)
from tests.models.backbones_3d.focal_voxels import SHAPE, random_coords


@pytest.mark.parametrize("top_share", [None, 0.5])
def test_a_pinned_count_is_met(top_share):
    coords = random_coords(0)
    least = count(coords, FocalDecision(np.zeros(160, bool), np.zeros((160, 26), bool)), SHAPE, 2)
    for target in (least, 200, 431, 700):
        decision = decision_for_count(coords, target, SHAPE, 2, top_share=top_share)
        assert count(coords, decision, SHAPE, 2) == target
        if top_share is not None:
            assert decision.fore_mask[:80].sum() == decision.fore_mask[80:].sum() == 40


def test_a_count_out_of_reach_names_the_interval():
    with pytest.raises(ValueError, match=r"160 voxels grow to 1\d\d at least and \d+ at most"):
        decision_for_count(random_coords(0), 10**6, SHAPE, 2)
