from pathlib import Path

from bevdiag.errors import Location
from bevdiag.policy.policy_file.py bevdiag.policy.keys import IgnoredRule, Policy, Setting

PLACE = Location(Path("bevdiag.toml"), 1, 1)


def _said(text: str) -> Setting:
    return Setting(text, PLACE)


def test_a_later_table_decides_what_it_names_and_leaves_the_rest() -> None:
    wide = Policy(
        gpu=_said("rtx4090"),
        margin=_said("10%"),
        assume={"a": _said("1"), "b": _said("2")},
        ignore={"BEV302": IgnoredRule("BEV302", "the paper's", PLACE)},
    )
    narrow = Policy(margin=_said("2GiB"), assume={"b": _said("3")})
    both = wide.overridden(narrow)
    assert (both.gpu, both.margin) == (wide.gpu, narrow.margin)
    assert {site: said.text for site, said in both.assume.items()} == {"a": "1", "b": "3"}
    assert both.ignore == wide.ignore


def test_a_gpu_and_a_budget_are_said_anew_together() -> None:
    """Otherwise a config's own GPU would be judged by the project's smaller budget."""
    project = Policy(gpu=_said("rtx4090"), budget=_said("20GiB"))
    both = project.overridden(Policy(gpu=_said("h200")))
    assert both.gpu is not None
    assert (both.gpu.text, both.budget) == ("h200", None)
