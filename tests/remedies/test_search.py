"""The one search for plans, on the small model with few changes to try."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Plan, Prediction
from bevdiag.prediction.scene import Shared
from bevdiag.remedies import search, sets
from bevdiag.remedies.sets import worth_tracing
from bevdiag.rules.checks import fixes_of
from bevdiag.rules.finding import Fix, Price
from bevdiag.trace import workers

MIB = 2**20
FEW = {"compression-sparse_max", "dsvt-checkpoint", "focal-topk", "fewer-voxels"}
BUDGET = 235 * MIB
"""Below the small model's upper end, above it with the top-k or with fewer voxels."""


@pytest.fixture(scope="module", autouse=True)
def _few_changes() -> Iterator[None]:
    def few(*args: Any) -> Any:
        return (candidate for candidate in fixes_of(*args) if candidate.id in FEW)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "fixes_of", few)
        patch.setattr(sets, "fixes_of", few)
        yield


@pytest.fixture(scope="module")
def over(small: Any) -> Prediction:
    report: Prediction = small.report(pinned=False, remedies=True, budget_bytes=BUDGET)
    return report


def test_every_single_change_is_shown_with_its_figures(over: Prediction) -> None:
    singles = [plan for plan in over.remedies if not plan.combined]
    assert {plan.id for plan in singles} == FEW
    for plan in singles:
        assert plan.error == ""
        assert plan.edits
        assert plan.peak_allocated_bytes is not None
        assert plan.high_bytes is not None
        assert 0 < plan.peak_allocated_bytes <= plan.high_bytes
        assert plan.params
        assert plan.bev_channels


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("compression-sparse_max", {"compression": "sparse_max"}),
        ("dsvt-checkpoint", {"overrides": ("MODEL.BACKBONE_3D.DSVT.ues_checkpoint=true",)}),
    ],
)
def test_a_plans_figures_are_those_of_inspecting_the_edited_config(
    small: Any, over: Prediction, change: str, wanted: dict[str, Any]
) -> None:
    (plan,) = (plan for plan in over.remedies if plan.id == change)
    report = small.report(pinned=False, remedies=False, budget_bytes=BUDGET, **wanted)
    assert plan.peak_allocated_bytes == report.peak.allocated_bytes
    assert plan.high_bytes == report.peak.high_bytes
    assert plan.reserved_bytes == report.peak.reserved_bytes
    assert plan.params == report.params.total
    assert plan.verdict is report.verdict


def test_what_is_recommended_fits_and_is_safe(over: Prediction) -> None:
    plan = over.recommended
    assert plan is not None
    assert plan.verdict is Verdict.FITS
    assert not plan.unsafe
    assert not plan.needs


def test_where_a_step_fits_nothing_is_traced_unless_it_is_asked_for(small: Any) -> None:
    from bevdiag.prediction.inspect import inspect

    def never(*_: Any) -> Any:
        raise AssertionError("a plan was searched for")

    options = small.options(budget_bytes=2**40, remedies=None)
    report = inspect(small.config, options, small.progress, never)
    assert isinstance(report, Prediction)
    assert report.verdict is Verdict.FITS
    with pytest.raises(AssertionError, match="searched for"):
        inspect(small.config, replace(options, remedies=True), small.progress, never)


# -- the order of recommendation -------------------------------------------------------------------


def _single(name: str, high: int, *, needs: str = "", price: int = 3) -> Plan:
    change = Fix(
        id=name, group=name, title=name, price=Price(price), loses="", unsafe="", needs=needs
    )
    return Plan(
        changes=(change,), edits={}, verdict=Verdict.OVER, high_bytes=high, flops=10, params=1
    )


def test_what_the_users_code_may_lack_comes_behind_what_it_has() -> None:
    lacking = _single("own-module", 10, needs="a module of bevdiag's", price=0)
    plain = _single("dear", 10, price=4)
    assert min((lacking, plain), key=lambda plan: plan.preference) is plain


def test_sets_without_needs_are_traced_first() -> None:
    base = replace(_single("", 100), changes=())
    singles = [
        _single("own-module", 40, needs="a module of bevdiag's", price=0),
        _single("one", 60, price=1),
        _single("two", 60, price=4),
    ]
    order = list(worth_tracing(base, singles, 50, None))
    assert order[0] == ("one", "two")
    assert all("own-module" in ids for ids in order[1:])


# -- what is traced at all -------------------------------------------------------------------------


class _Steps:
    """A source of which changes leave shares of 100 bytes; what is traced is noted."""

    def __init__(self, shares: dict[str, float], *, remedies: bool | None = None) -> None:
        self.options = InspectOptions(remedies=remedies)
        self.shares = shares
        self.traced: list[tuple[str, ...]] = []
        self.input = tuple[object, ...]
        self.shared = Shared()

    def plan(self, ids: tuple[str, ...], known: Mapping[str, Fix]) -> Plan:
        self.traced.append(ids)
        left = round(100 * prod(self.shares[name] for name in ids))
        return Plan(
            changes=tuple(known[name] for name in ids),
            edits={},
            verdict=Verdict.FITS if left <= 50 else Verdict.OVER,
            high_bytes=left,
            flops=10,
        )


_OFFERED = {
    change.id: change
    for change in (
        Fix(id="grid", group="e", title="e", price=Price(0), loses="", unsafe="moves", needs=""),
        Fix(id="data", group="d", title="d", price=Price(4), loses="", unsafe="", needs=""),
        Fix(id="own", group="c", title="c", price=Price(1), loses="", unsafe="", needs="a module"),
        Fix(id="model", group="b", title="b", price=Price(3), loses="", unsafe="", needs=""),
        Fix(id="time", group="a", title="a", price=Price(1), loses="", unsafe="", needs=""),
    )
}


@pytest.mark.parametrize(
    ("shares", "remedies", "traced", "chosen"),
    [
        ({"time": 0.4}, None, {("time",)}, ("time",)),
        ({"time": 0.4}, True, {(name,) for name in _OFFERED}, ("time",)),
        (
            {"time": 0.7, "model": 0.7},
            None,
            {("time",), ("model",), ("model", "time")},
            ("model", "time"),
        ),
        ({"data": 0.4}, None, {("time",), ("model",), ("data",)}, ("data",)),
        ({"own": 0.4}, None, {(name,) for name in _OFFERED if name != "grid"}, ("own",)),
        ({"grid": 0.4}, None, {(name,) for name in _OFFERED}, None),
    ],
)
def test_dearer_changes_wait_until_nothing_cheaper_fits(
    shares: dict[str, float],
    remedies: bool | None,
    traced: set[tuple[str, ...]],
    chosen: tuple[str, ...] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source: Any = _Steps({**dict.fromkeys(_OFFERED, 1.0), **shares}, remedies=remedies)
    monkeypatch.setattr(search, "fixes_of", lambda _: _OFFERED.values())
    monkeypatch.setattr(
        search, "plan_set", lambda _, __, ids, known: (source.plan(ids, known), None)
    )
    monkeypatch.setattr(workers, "usable_cores", lambda: 1)
    goal = replace(make_target(torch="2.11.0"), capacity_bytes=50)
    base = replace(_single("", 100), changes=())
    found, _ = search.search_plans(source, goal, base, lambda *_: None)
    assert set(source.traced) == traced
    assert (found.chosen.ids if found.chosen else None) == chosen
    assert [plan.id for plan in found.singles] == [
        name for name in _OFFERED if (name,) in set(source.traced)
    ]


def test_a_round_that_leaves_nothing_to_combine_is_begun_with_the_next() -> None:
    rounds = [["time"], ["model"], ["data"]]
    assert list(search._begun(rounds, _OFFERED)) == [[("time",), ("model",)], [("data",)]]
    assert list(search._begun([["time"]], _OFFERED)) == [[("time",)]]


@pytest.mark.parametrize("cores", [1, 3])
def test_plans_are_the_same_on_any_number_of_cores(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = _Steps(dict.fromkeys(_OFFERED, 0.6), remedies=True)
    monkeypatch.setattr(search, "fixes_of", lambda _: _OFFERED.values())
    monkeypatch.setattr(
        search, "plan_set", lambda _, __, ids, known: (source.plan(ids, known), None)
    )
    monkeypatch.setattr(workers, "own_cores", lambda: cores)
    goal = replace(make_target(torch="2.11.0"), capacity_bytes=50)
    base = replace(_single("", 100), changes=())
    found, _ = search.search_plans(source, goal, base, lambda *_: None)
    # The first set that fits, and the strongest of all.
    assert [plan.fits for plan in found.combined] == [True, True]


def test_what_one_worker_has_settled_the_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    if not workers._can_fork():
        pytest.skip("nothing is forked here")
    source: Any = _Steps(dict.fromkeys(_OFFERED, 0.8))
    counts = source.shared.counts

    def plan_set(_: Any, __: Any, ids: tuple[str, ...], known: Any) -> tuple[Plan, None]:
        if ids == ("time",):
            counts["settled"] = 7
        return replace(source.plan(ids, known), params=counts.get("settled")), None

    monkeypatch.setattr(search, "fixes_of", lambda _: _OFFERED.values())
    monkeypatch.setattr(search, "plan_set", plan_set)
    monkeypatch.setattr(workers, "own_cores", lambda: 2)
    goal = replace(make_target(torch="2.11.0"), capacity_bytes=50)
    found, _ = search.search_plans(
        source, goal, replace(_single("", 100), changes=()), lambda *_: None
    )
    assert len(found.combined) > 2
    assert {plan.params for plan in found.combined} == {7}
