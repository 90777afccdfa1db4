from dataclasses import replace

import pytest

from bevdiag.memory.catalogue import find_gpu
from bevdiag.memory.device import make_target
from bevdiag.memory.events import EventStream
from bevdiag.memory.verdict import Verdict, fit_on_gpus, judge

from ..streams import make, mark, stream

GIB, MIB = 2**30, 2**20


def _stream(gib: float, *, unmodelled: tuple[str, ...] = ()) -> EventStream:
    return replace(stream(mark(1), make(int(gib * GIB))), unmodelled=unmodelled)


def _judge(expected: EventStream, upper: EventStream, budget_gib: int | None) -> Verdict:
    budget = None if budget_gib is None else budget_gib * GIB
    target = make_target(torch="2.11.0", budget_bytes=budget)
    return judge(target, expected, upper, unsplit_bytes=0)


@pytest.mark.parametrize(
    ("expected", "upper", "budget", "verdict"),
    [
        (4, 6, None, Verdict.NO_BUDGET),
        (4, 6, 8, Verdict.FITS),
        (4, 6, 5, Verdict.DEPENDS),
        (4, 6, 3, Verdict.OVER),
    ],
)
def test_fits_is_said_of_the_upper_end_only(
    expected: float, upper: float, budget: int | None, verdict: Verdict
) -> None:
    assert _judge(_stream(expected), _stream(upper), budget) is verdict


@pytest.mark.parametrize("budget", [None, 1, 100])
def test_what_is_not_modelled_makes_every_verdict_unknown(budget: int | None) -> None:
    foreign = _stream(4, unmodelled=("roi pooling",))
    assert _judge(foreign, _stream(4), budget) is Verdict.UNKNOWN
    assert _judge(_stream(4), foreign, budget) is Verdict.UNKNOWN


def test_each_gpu_of_the_catalogue_is_judged() -> None:
    target = make_target(torch="2.11.0")
    fits = {fit.gpu: fit for fit in fit_on_gpus(target, _stream(30), _stream(100), unsplit_bytes=0)}
    assert fits["rtx3080-10gb"].verdict is Verdict.OVER
    assert fits["a100-80gb"].verdict is Verdict.DEPENDS
    assert fits["h200"].verdict is Verdict.FITS
    assert fits["a100-80gb"].capacity_bytes == find_gpu("a100-80gb").usable_bytes


def test_a_budget_does_not_go_along_to_another_gpu() -> None:
    bounded = make_target(torch="2.11.0", gpu="h200", budget_bytes=GIB, cudnn="9.1")
    assert bounded.is_capped
    moved = bounded.on(find_gpu("a100-80gb"))
    assert moved.capacity_bytes == find_gpu("a100-80gb").usable_bytes
    assert not moved.is_capped
    assert (moved.torch, moved.cudnn) == (bounded.torch, (9, 1, 0))
    assert moved.compute_capability == (8, 0)
    assert replace(moved, gpu="x").gpu == "x"


@pytest.mark.parametrize(
    ("gpu", "has_doubt"), [("rtx3080-10gb", False), ("rtx3090", True), ("h200", False)]
)
def test_an_assumed_figure_is_no_verdict_near_the_limit(gpu: str, has_doubt: bool) -> None:
    target = make_target(torch="2.11.0", gpu=gpu)
    assert target.capacity_bytes is not None
    known = find_gpu(gpu)
    assert (known.total_doubt_bytes > 0) is has_doubt
    assert target.doubt_bytes == known.total_doubt_bytes + target.context_doubt_bytes
    assert (target.context_doubt_bytes > 0) is (target.profile is None)

    def verdict(nbytes: int) -> Verdict:
        step = _stream(nbytes / GIB)
        return judge(target, step, step, unsplit_bytes=0)

    segment = 4 * MIB
    assert verdict(target.capacity_bytes - target.doubt_bytes - segment) is Verdict.FITS
    near = verdict(target.capacity_bytes - segment)
    assert near is (Verdict.DEPENDS if target.doubt_bytes else Verdict.FITS)


def test_a_budget_below_the_doubt_is_judged_as_it_stands() -> None:
    assert make_target(torch="2.11.0", gpu="rtx3090", budget_bytes=8 * GIB).doubt_bytes == 0
    whole = make_target(torch="2.11.0", gpu="rtx3090")
    assert whole.capacity_bytes is not None
    near = make_target(torch="2.11.0", gpu="rtx3090", budget_bytes=whole.capacity_bytes - MIB)
    assert near.doubt_bytes == whole.doubt_bytes - MIB


def test_what_blocks_may_leave_unsplit_must_stay_free() -> None:
    target = make_target(torch="2.11.0", budget_bytes=8 * GIB)
    step = _stream(7)

    def verdict(unsplit_bytes: int) -> Verdict:
        return judge(target, step, step, unsplit_bytes=unsplit_bytes)

    assert verdict(GIB) is Verdict.FITS
    assert verdict(GIB + 1) is Verdict.DEPENDS
    assert verdict(9 * GIB) is Verdict.DEPENDS


def test_the_expected_run_must_fit_with_room_too() -> None:
    # A larger request finds the cached block that the smaller one leaves in pieces.
    target = make_target(torch="2.11.0", budget_bytes=8 * GIB)
    assert judge(target, _stream(7.5), _stream(4), unsplit_bytes=GIB) is Verdict.DEPENDS
    assert judge(target, _stream(4), _stream(4), unsplit_bytes=GIB) is Verdict.FITS
