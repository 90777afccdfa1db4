from typing import Any

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Plan
from bevdiag.rules.finding import Fix, Price


def _fix(name: str, price: Price, **more: Any) -> Fix:
    return Fix(id=name, group=name, title=f"{name}'s", price=price, loses=f"{name} lost", **more)


def _plan(*fixes: Fix, flops: int = 0) -> Plan:
    return Plan(changes=fixes, edits={}, verdict=Verdict.FITS, flops=flops)


def test_a_set_is_named_by_its_members() -> None:
    plan = _plan(_fix("a", Price.TIME), _fix("b", Price.MODEL, needs="x"), _fix("c", Price.DATA))
    assert (plan.id, plan.title, plan.combined) == ("a+b+c", "a's, b's, c's", True)
    assert plan.loses == "a lost; b lost; c lost"
    assert (plan.needs, plan.unsafe, plan.recommendation.ids) == (("x",), (), ("a", "b", "c"))


def test_the_dearest_member_decides_then_the_next_then_the_compute() -> None:
    cheap, dear = _fix("t", Price.TIME), _fix("m", Price.MODEL)
    sets = [_plan(dear, cheap), _plan(dear, flops=2), _plan(dear, flops=1), _plan(cheap, flops=9)]
    ordered = sorted(sets, key=lambda plan: plan.cost)
    assert [(plan.id, plan.flops) for plan in ordered] == [
        ("t", 9),
        ("m", 1),
        ("m", 2),
        ("m+t", 0),
    ]


def test_what_the_code_may_lack_comes_last() -> None:
    needy = _plan(_fix("n", Price.NOTHING, needs="a module"))
    assert sorted([needy, _plan(_fix("d", Price.DATA))], key=lambda p: p.preference)[-1] is needy
