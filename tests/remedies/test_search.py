from dataclasses import replace
from typing import Any

import pytest

from bevdiag.errors import InputError
from bevdiag.memory.catalogue import find_gpu
from bevdiag.memory.device import make_target
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import InspectReport, Remedy
from bevdiag.remedies import search
from bevdiag.remedies.candidate import Candidate, Price
from bevdiag.remedies.search import remedy_goal, search_remedies

MIB = 2**20
BUDGET = 90 * MIB
"""Below the small model's step, above it with one or another change."""


@pytest.fixture(scope="module")
def over(small: Any) -> InspectReport:
    report: InspectReport = small.report(remedies=True, budget_bytes=BUDGET)
    return report


def _by_id(report: InspectReport) -> dict[str, Remedy]:
    return {remedy.id: remedy for remedy in report.remedies}


def test_every_single_change_is_shown_with_its_figures(over: InspectReport) -> None:
    singles = [remedy for remedy in over.remedies if not remedy.combined]
    assert len(singles) == 12
    for remedy in singles:
        assert remedy.error == ""
        assert remedy.changes
        assert remedy.peak_allocated_bytes is not None
        assert remedy.high_bytes is not None
        assert 0 < remedy.peak_allocated_bytes <= remedy.high_bytes
        assert remedy.reserved_bytes
        assert remedy.params
        assert remedy.bev_channels


@pytest.mark.parametrize(
    ("remedy", "wanted"),
    [
        ("compression-sparse_max", {"compression": "sparse_max"}),
        ("autocast-bf16", {"autocast": "bf16"}),
        ("dsvt-checkpoint", {"overrides": ("MODEL.BACKBONE_3D.DSVT.ues_checkpoint=true",)}),
    ],
)
def test_a_remedys_figures_are_those_of_inspecting_the_edited_config(
    small: Any, over: InspectReport, remedy: str, wanted: dict[str, Any]
) -> None:
    shown, report = _by_id(over)[remedy], small.report(budget_bytes=BUDGET, **wanted)
    assert shown.peak_allocated_bytes == report.peak.allocated_bytes
    assert shown.high_bytes == report.peak.high_bytes
    assert shown.reserved_bytes == report.peak.reserved_bytes
    assert shown.params == report.params_total
    assert shown.bev_channels == report.bev_channels
    assert shown.verdict is report.verdict


def test_remedies_lower_the_peak(over: InspectReport) -> None:
    peak = over.peak.allocated_bytes
    for name in ("compression-sparse_max", "focal-topk", "autocast-bf16", "dsvt-checkpoint"):
        found = _by_id(over).get(name)
        assert found is not None
        assert found.peak_allocated_bytes is not None
        assert found.peak_allocated_bytes < peak


def test_the_goal_is_the_target_or_a_common_gpu(over: InspectReport) -> None:
    assert over.remedies_for == over.target
    bare = make_target(torch="2.11.0")
    assert remedy_goal(bare) == bare.on(find_gpu("rtx4090"))
    bounded = make_target(torch="2.11.0", budget_bytes=BUDGET)
    assert remedy_goal(bounded) is bounded


# -- the search, with made-up costs ----------------------------------------------------------------


class _MadeUp:
    """Candidates that take some MiB off a step of 100; what fits is decided by a limit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int, **savings: int) -> None:
        self.limit = limit
        self.savings = savings
        self.broken: set[str] = set()
        self.tried: list[str] = []
        monkeypatch.setattr(search, "candidates", lambda *_: iter(self.candidates()))
        monkeypatch.setattr(search, "_try", self._try)
        monkeypatch.setattr(search, "workers", _OneAfterTheOther)

    def candidates(self) -> list[Candidate]:
        return [
            Candidate(
                id=name,
                group=name.partition("_")[0],
                price=Price.DATA if name.startswith("dear") else Price.NOTHING,
                title=name,
                loses="",
            )
            for name in self.savings
        ]

    def _try(self, session: Any, variant: Any, goal: Any, members: Any) -> Any:
        left = 100 - sum(self.savings[member.id] for member in members)
        self.tried.append("+".join(member.id for member in members))
        if any(member.id in self.broken for member in members):
            error = str(InputError("it cannot be built"))
            return search._Tried(members, search._remedy(members, Verdict.UNKNOWN, error=error))
        verdict = Verdict.FITS if left <= self.limit else Verdict.OVER
        return search._Tried(
            members, search._remedy(members, verdict, peak_allocated_bytes=left, high_bytes=left)
        )

    def run(self, small: Any) -> tuple[Remedy, ...]:
        session = small.session()
        variant = session.variant(small.config)
        return search_remedies(session, variant, session.target(), small.progress)


class _OneAfterTheOther:
    def __init__(self, function: Any, **_: Any) -> None:
        self.function = function

    def __enter__(self) -> Any:
        return lambda tasks: map(self.function, tasks)

    def __exit__(self, *_: Any) -> None:
        pass


def test_nothing_is_combined_where_one_change_fits(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _MadeUp(monkeypatch, 60, a=10, b=40, c=5).run(small)
    assert [remedy.id for remedy in found] == ["a", "b", "c"]


def test_changes_are_combined_until_they_fit_and_the_needless_dropped(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _MadeUp(monkeypatch, 40, a=30, dear=35, c=1, d=33).run(small)
    combined = [remedy for remedy in found if remedy.combined]
    fitting = [remedy for remedy in combined if remedy.verdict is Verdict.FITS]
    assert fitting
    assert set(fitting[-1].id.split("+")) == {"a", "d"}
    for remedy in combined:
        assert remedy.title == ", ".join(remedy.id.split("+"))


def test_one_change_of_each_group_is_taken_the_strongest(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = _MadeUp(monkeypatch, 20, height_max=20, height_sparse=40, growth=45)
    found = made_up.run(small)
    assert found[-1].id in {"height_sparse+growth", "growth+height_sparse"}
    assert not any("height_max" in i and "height_sparse" in i for i in made_up.tried)


def test_what_cannot_be_traced_is_shown_and_left_out_of_combinations(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = _MadeUp(monkeypatch, 30, a=30, b=40, broken=60)
    made_up.broken = {"broken"}
    found = made_up.run(small)
    assert next(r for r in found if r.id == "broken").error == "it cannot be built"
    assert found[-1].verdict is Verdict.FITS
    assert "broken" not in found[-1].id


def test_where_nothing_fits_every_combination_on_the_way_is_shown(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _MadeUp(monkeypatch, 1, a=10, b=20, c=30).run(small)
    assert [len(remedy.id.split("+")) for remedy in found] == [1, 1, 1, 2, 3]
    assert all(remedy.verdict is Verdict.OVER for remedy in found)


def test_a_candidate_that_makes_no_config_has_its_reason(small: Any) -> None:
    session = small.session()
    variant = session.variant(small.config)
    bad = Candidate(
        id="bad",
        group="bad",
        price=Price.NOTHING,
        title="bad",
        loses="",
        changes={("MODEL", "MAP_TO_BEV", "NAME"): "Squash"},
    )
    tried = search._try(session, variant, session.target(), (bad,))
    assert "Squash" in tried.remedy.error
    assert tried.remedy.peak_allocated_bytes is None
    assert not tried.fits
    assert tried.upper > search._Tried((), replace(tried.remedy, high_bytes=2**50)).upper
