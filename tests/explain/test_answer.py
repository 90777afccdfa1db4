from bevdiag.explain.answer import Failure, Figure
from bevdiag.explain.kinds import kinds

GIB = 2**30


def _figure(gib: float) -> Figure:
    middle = round(gib * GIB)
    return Figure(f"{gib:.2f} GiB", middle - 5, middle + 5)


def _failure(**figures: float) -> Failure:
    made = {name: _figure(size) for name, size in figures.items()}
    return Failure(kind=kinds()["allocator"], sentence="", line=1, **made)  # type: ignore[arg-type]


def test_a_figure_stands_for_all_bytes_that_print_like_it() -> None:
    figure = _figure(1)
    assert figure.middle_bytes == GIB
    assert figure.holds(GIB + 5)
    assert not figure.holds(GIB + 6)


def test_what_was_reserved_and_what_was_cached_follow_from_two_of_three() -> None:
    assert _failure(allocated=3, unallocated=1).reserved_bytes == 4 * GIB
    assert _failure(allocated=3, reserved=4).unallocated_bytes == GIB
    assert _failure(allocated=3).reserved_bytes is None
    assert _failure(reserved=4).unallocated_bytes is None


def test_the_capacity_is_the_limit_that_was_set_or_what_could_be_had() -> None:
    assert _failure(reserved=4, free=1).capacity_bytes == 5 * GIB
    assert _failure(reserved=4, free=1, allowed=4.5).capacity_bytes == 4.5 * GIB
    assert _failure(reserved=4).capacity_bytes is None
