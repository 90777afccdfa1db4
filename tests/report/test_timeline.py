from bevdiag.prediction.result import TimelinePoint
from bevdiag.report.timeline import phase_stretches, reduce_stretch


def _point(phase: str, allocated: int, reserved: int = 0) -> TimelinePoint:
    return TimelinePoint(
        phase=phase, module=f"m{allocated}", allocated_bytes=allocated, reserved_bytes=reserved
    )


def test_phases_keep_their_order() -> None:
    points = [_point("forward", 1), _point("forward", 2), _point("backward", 3)]
    assert [(phase, len(group)) for phase, group in phase_stretches(points)] == [
        ("forward", 2),
        ("backward", 1),
    ]


def test_no_peak_is_lost() -> None:
    points = [_point("forward", value) for value in (1, 9, 2, 3, 4, 8, 1)]
    reduced = reduce_stretch(points, 3)
    assert [point.allocated_bytes for point in reduced] == [9, 3, 8]
    assert reduced[0].module == "m9"


def test_reserved_is_the_highest_of_its_own() -> None:
    points = [_point("forward", 5, reserved=6), _point("forward", 1, reserved=9)]
    assert reduce_stretch(points, 1)[0].reserved_bytes == 9


def test_few_points_are_spread() -> None:
    points = [_point("forward", 1), _point("forward", 2)]
    assert [point.allocated_bytes for point in reduce_stretch(points, 4)] == [1, 1, 2, 2]
