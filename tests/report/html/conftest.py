"""Blocks of a step, and the shipped model's report with a timeline of them."""

from dataclasses import replace

import pytest

from bevdiag.memory.events import Alloc, Category, Phase
from bevdiag.memory.history import BlockLife
from bevdiag.prediction.result import Prediction, TimelinePoint

MIB = 2**20
_EVENTS = 60


def block(
    start: int,
    stop: int,
    mebibytes: int,
    module: str,
    category: str = "activation",
) -> BlockLife:
    """A block of so many MiB."""
    return BlockLife(
        start=start,
        stop=stop,
        nbytes=mebibytes * MIB,
        alloc=Alloc(
            block=start,
            nbytes=mebibytes * MIB,
            category=Category(category),
            phase=Phase.FORWARD,
            step=2,
            module=module,
            op="aten::empty",
            shape=(mebibytes, MIB // 4),
            dtype="float32",
        ),
    )


@pytest.fixture
def blocks() -> tuple[BlockLife, ...]:
    """Weights, a voxel encoder, a backbone of two blocks and a head."""
    return (
        block(0, _EVENTS, 40, "vfe", "parameter"),
        block(1, 50, 10, "vfe.pfn"),
        block(5, 45, 100, "backbone_2d.blocks.0"),
        block(10, 40, 80, "backbone_2d.blocks.1"),
        block(12, 13, 300, "backbone_2d.blocks.1", "workspace"),
        block(20, 35, 5, "dense_head"),
    )


@pytest.fixture
def drawn(over: Prediction, blocks: tuple[BlockLife, ...]) -> Prediction:
    """The report with these blocks and the timeline that they add up to."""
    points = []
    for event in range(_EVENTS):
        alive = sum(item.nbytes for item in blocks if item.start <= event < item.stop)
        phase = "forward" if event < 30 else "backward"
        points.append(
            TimelinePoint(
                phase=phase,
                module="backbone_2d.blocks.1",
                allocated_bytes=alive,
                reserved_bytes=600 * MIB,
            )
        )
    return replace(over, blocks=blocks, timeline=tuple(points))
