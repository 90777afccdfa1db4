"""Steps of the toy repository that has data of its own."""

from typing import Any

import numpy as np
import pytest

from bevdiag.scenes import Scenario, make_batch
from bevdiag.source import read_source_config
from bevdiag.trace.alternatives import TracedStep
from tests.source.dialects.pcdet.own_data import CONFIG, POINTS, REPOSITORY, Own
from tests.source.tracing import trace_source


@pytest.fixture(scope="module")
def own() -> Own:
    settings = read_source_config(CONFIG)
    low, high = np.split(np.array(settings.point_cloud_range), 2)
    random = np.random.default_rng(0)
    samples = [
        np.c_[random.uniform(low, high, (POINTS, 3)), random.random(POINTS)].astype(np.float32)
        for _ in range(2)
    ]
    batch = make_batch(
        samples,
        point_cloud_range=settings.point_cloud_range,
        voxel_size=(0.5, 0.5, 0.5),
        grid_size=(100, 100, 40),
        max_points=None,
        max_voxels=None,
        num_boxes=4,
        num_classes=1,
        seed=0,
        source="test",
    )

    def trace(model: str, *more: str, **options: Any) -> TracedStep:
        overrides = (f"MODEL.NAME={model}", *more)
        scenes = {Scenario.EXPECTED: batch}
        return trace_source(CONFIG, REPOSITORY, scenes=scenes, overrides=overrides, **options)

    return trace


@pytest.fixture(scope="module")
def plain(own: Own) -> TracedStep:
    return own("Plain")
