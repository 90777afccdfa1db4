from typing import Any

import pytest

from bevdiag.errors import InputError
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Plan
from bevdiag.remedies.sets import (
    apply_set,
    frontier_of,
    strongest_set,
    worth_tracing,
)
from bevdiag.rules.finding import Fix, Price


def _plan(name: str, high: int | None, price: int = 3, flops: int = 100, error: str = "") -> Plan:
    """Named <group>_<id>; several names with a plus make a set."""
    changes = tuple(
        Fix(
            id=part,
            group=part.partition("_")[0],
            title=part,
            price=Price(price),
            loses="",
            unsafe="",
            needs="",
        )
        for part in name.split("+")
        if part
    )
    return Plan(
        changes=changes, edits={}, verdict=Verdict.OVER, high_bytes=high, flops=flops, error=error
    )


BASE = _plan("", 100)
SINGLES = [
    _plan("height_a", 50, flops=80),
    _plan("height_b", 40, flops=120),
    _plan("check", 60, price=1),
    _plan("voxel", 30, price=4),
    _plan("worse", 110),
    _plan("broken", None, error="no such grid"),
]


def _sets(capacity: int, below: tuple[int, ...] | None = None) -> list[str]:
    return ["+".join(ids) for ids in worth_tracing(BASE, SINGLES, capacity, below)]


def test_sets_come_by_their_dearest_price_then_by_compute() -> None:
    assert _sets(1000) == [
        "height_a+check",
        "height_b+check",
        "check+voxel",
        "height_a+voxel",
        "height_b+voxel",
        "height_a+check+voxel",
        "height_b+check+voxel",
    ]


def test_what_cannot_fit_is_not_traced() -> None:
    # 0.5 x 0.6 x 0.3 of 100 is 9; half as much again is allowed for.
    assert _sets(6) == ["height_a+check+voxel", "height_b+check+voxel"]
    assert _sets(5) == ["height_b+check+voxel"]


def test_nothing_dearer_than_what_fits_is_traced() -> None:
    assert _sets(1000, below=(3, 3)) == ["height_a+check", "height_b+check"]
    assert _sets(1000, below=(1,)) == []


def test_the_strongest_set_has_the_strongest_of_each_group_that_helps() -> None:
    assert strongest_set(BASE, SINGLES) == ("height_b", "check", "voxel")


def test_the_frontier_holds_what_nothing_cheaper_beats() -> None:
    sets = [_plan("height_b+check", 25), _plan("height_a+check", 35)]
    kept = [plan.id for plan in frontier_of([BASE, *SINGLES, *sets])]
    # height_b costs more compute than height_a and leaves less; voxel is the dearest.
    assert kept == ["", "check", "height_a", "height_b", "height_b+check"]


def test_changes_are_made_as_what_stands_before_them_asks(small: Any) -> None:
    source = small.source()
    alone, _ = apply_set(source, ("dsvt-height-stages",))
    both, _ = apply_set(source, ("voxel-z-2", "dsvt-height-stages"))
    strides = [v.config.model.backbone_3d.dsvt.input_layer.downsample_stride for v in (alone, both)]
    assert strides == [((1, 1, 2), (1, 1, 5)), ((1, 1, 5),)]


def test_a_change_that_the_others_rule_out_has_a_reason(small: Any) -> None:
    with pytest.raises(InputError, match="height-strides cannot be made after dsvt-height-stages"):
        apply_set(small.source(), ("dsvt-height-stages", "height-strides"))
