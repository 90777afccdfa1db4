"""Blocks of a step, and the shipped model's report with a timeline of them."""

from dataclasses import replace

import pytest

from bevdiag.prediction.memory_use import TensorLife, TimelinePoint
from bevdiag.prediction.result import Prediction

MIB = 2**20
_EVENTS = 60


def life(
    start: int,
    stop: int,
    mebibytes: int,
    module: str,
    category: str = "activation",
    *,
    is_state: bool = False,
) -> TensorLife:
    """A block of so many MiB."""
    return TensorLife(
        start=start,
        stop=stop,
        nbytes=mebibytes * MIB,
        category=category,
        module=module,
        op="aten::empty",
        shape=(mebibytes, MIB // 4),
        dtype="float32",
        phase="forward",
        is_state=is_state,
    )


@pytest.fixture
def lives() -> tuple[TensorLife, ...]:
    """Weights, a voxel encoder, a backbone of two blocks and a head."""
    return (
        life(0, _EVENTS, 40, "vfe", "parameter", is_state=True),
        life(1, 50, 10, "vfe.pfn"),
        life(5, 45, 100, "backbone_2d.blocks.0"),
        life(10, 40, 80, "backbone_2d.blocks.1"),
        life(12, 13, 300, "backbone_2d.blocks.1", "workspace"),
        life(20, 35, 5, "dense_head"),
    )


@pytest.fixture
def drawn(over: Prediction, lives: tuple[TensorLife, ...]) -> Prediction:
    """The report with these blocks and the timeline that they add up to."""
    points = []
    for event in range(_EVENTS):
        alive = sum(item.nbytes for item in lives if item.start <= event < item.stop)
        phase = "forward" if event < 30 else "backward"
        points.append(
            TimelinePoint(
                phase=phase,
                module="backbone_2d.blocks.1",
                allocated_bytes=alive,
                reserved_bytes=600 * MIB,
            )
        )
    return replace(over, lives=lives, timeline=tuple(points))
