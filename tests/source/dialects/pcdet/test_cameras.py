from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bevdiag.source.dialects.pcdet.cameras import Cameras
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
    made = Cameras(_FRAMES, {"DATA_PROCESSOR": [step]}).make("gt_masks_bev")
    assert (None if made is None else tuple(made.shape)) == ((2, 2, 10, cells) if cells else None)
