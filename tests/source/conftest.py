from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.scenes import Batch, Scenario, make_batch
from bevdiag.source import read_source_config
from bevdiag.trace.alternatives import TracedStep
from tests.source.tracing import trace_source

REPOSITORY = Path(__file__).parent / "repo"
MODELS = REPOSITORY / "tools" / "cfgs" / "models"
POINTS = 400


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., Batch]:
    def make(config: str, batch_size: int = 2) -> Batch:
        settings = read_source_config(MODELS / config)
        low, high = np.split(np.array(settings.point_cloud_range), 2)
        random = np.random.default_rng(0)
        samples = [
            np.c_[random.uniform(low, high, (POINTS, 3)), random.random(POINTS)].astype(np.float32)
            for _ in range(batch_size)
        ]
        assert settings.voxel_size is not None
        assert settings.grid_size is not None
        return make_batch(
            samples,
            point_cloud_range=settings.point_cloud_range,
            voxel_size=settings.voxel_size,
            grid_size=settings.grid_size,
            max_points=settings.max_points,
            max_voxels=settings.max_voxels,
            num_boxes=4,
            num_classes=1,
            seed=0,
            source="test",
        )

    return make


@pytest.fixture(scope="session")
def trace_repo(batch_of: Callable[..., Batch]) -> Callable[..., TracedStep]:
    def trace(config: str, **options: Any) -> TracedStep:
        size = 1 if config == "two_stage.yaml" else 2
        scenes = {Scenario.EXPECTED: batch_of(config, size)}
        return trace_source(MODELS / config, REPOSITORY, scenes=scenes, **options)

    return trace
