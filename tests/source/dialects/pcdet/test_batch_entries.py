from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bevdiag.source.dialects.pcdet.batch_entries import of_cameras
from tests.source.dialects.pcdet.own_data import Own, _inputs


def test_cameras_see_the_scene(own: Own) -> None:
    trace = own("Cameras")
    assert len(_inputs(trace)["batch['camera_imgs']"]) == 5
    assert any("'camera_imgs' is synthetic" in finding for finding in trace.findings)


class _Frames(SimpleNamespace):
    def __len__(self) -> int:
        return 2


_FRAMES: Any = _Frames(
    image_size=(40, 60), calibration=lambda: {"Tr_velo_to_cam": np.eye(4), "P2": np.eye(4)}
)


@pytest.mark.parametrize(("more", "cells"), [({"xbound": [-5.0, 5.0, 0.5]}, 20), ({}, 0)])
def test_a_map_has_the_layers_and_cells_that_the_config_draws(
    more: dict[str, Any], cells: int
) -> None:
    step = {"NAME": "draw", "classes": ["lane", "walkway"], "ybound": [-5.0, 5.0, 1.0], **more}
    made = of_cameras(_FRAMES, {"DATA_PROCESSOR": [step]})["gt_masks_bev"]()
    assert (None if made is None else tuple(made.shape)) == ((2, 2, 10, cells) if cells else None)


def test_a_refiner_gets_the_boxes_that_another_run_would_have_kept(own: Own) -> None:
    trace = own("Refining", "DATA_CONFIG.SEQUENCE_CONFIG={SAMPLE_OFFSET: [-2, 0]}")
    assert _inputs(trace)["batch['roi_boxes']"] == (2, 3, 4 * 4, 9)
    assert any("'roi_boxes' is synthetic" in finding for finding in trace.findings)
