"""Blocks of a step, and the shipped model's report with a timeline of them."""

from dataclasses import replace

import pytest

from bevdiag.diagnose.result import InspectReport, TimelinePoint
from bevdiag.memory.events import Alloc, Category, Phase
from bevdiag.memory.lives import BlockLife

MIB = 2**20
_EVENTS = 60


def life(
    block: int,
    start: int,
    stop: int,
    mebibytes: int,
    module: str,
    category: Category = Category.ACTIVATION,
) -> BlockLife:
    """A block of so many MiB."""
    alloc = Alloc(
        block=block,
        nbytes=mebibytes * MIB,
        category=category,
        phase=Phase.FORWARD,
        step=2,
        module=module,
        op="aten::empty",
        shape=(mebibytes, MIB // 4),
        dtype="float32",
    )
    return BlockLife(start, stop, mebibytes * MIB, alloc)


@pytest.fixture
def lives() -> tuple[BlockLife, ...]:
    """Weights, a voxel encoder, a backbone of two blocks and a head."""
    return (
        life(1, 0, _EVENTS, 40, "vfe", Category.PARAMETER),
        life(2, 1, 50, 10, "vfe.pfn"),
        life(3, 5, 45, 100, "backbone_2d.blocks.0"),
        life(4, 10, 40, 80, "backbone_2d.blocks.1"),
        life(5, 12, 13, 300, "backbone_2d.blocks.1", Category.WORKSPACE),
        life(6, 20, 35, 5, "dense_head"),
    )


@pytest.fixture
def drawn(over: InspectReport, lives: tuple[BlockLife, ...]) -> InspectReport:
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
