"""The list of a policy's keys: its template, its schema and its reader say the same."""

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bevdiag.cli.reference import schema_text
from bevdiag.errors import ConfigError, Location
from bevdiag.policy import Policy, read_policy
from bevdiag.policy.keys import KEYS, IgnoredRule, Setting, policy_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = json.loads(schema_text("policy"))
_PLACE = Location(Path("bevdiag.toml"), 1, 1)


def _uncommented(text: str) -> str:
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    return "\n".join(line for line in lines if "=" in line or line.startswith("["))


def _problems(document: dict[str, Any]) -> list[str]:
    return [
        error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)
    ]


def test_the_template_says_nothing_but_the_gpu_that_is_named() -> None:
    assert tomllib.loads(policy_toml()) == {}
    assert tomllib.loads(policy_toml("rtx4090")) == {"gpu": "rtx4090"}


def test_every_example_of_the_template_is_read_and_keeps_the_schema(tmp_path: Path) -> None:
    text = _uncommented(policy_toml())
    document = tomllib.loads(text)
    assert {key.name for key in KEYS} < set(document)
    assert _problems(document) == []
    path = tmp_path / "bevdiag.toml"
    path.write_text(text, encoding="utf-8")
    policy = read_policy(path).of(tmp_path / "cfgs" / "small.yaml")
    assert all(getattr(policy, key.name) for key in KEYS)
    assert read_policy(path).of(tmp_path / "cfgs/big/x.yaml").gpu != policy.gpu


def test_the_keys_are_those_of_a_policy() -> None:
    assert {key.name for key in KEYS} == set(Policy.__dataclass_fields__)


@pytest.mark.parametrize(
    "text",
    [
        "gqu = 'h200'",
        "batch_size = '4'",
        "gpu = 4",
        "ignore = {BEV305 = ''}",
        "[[config]]\ngpu='a'",
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(text: str, tmp_path: Path) -> None:
    assert _problems(tomllib.loads(text))
    path = tmp_path / "bevdiag.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_policy(path)


def _said(text: str) -> Setting:
    return Setting(text, _PLACE)


def test_a_later_table_decides_what_it_names_and_leaves_the_rest() -> None:
    wide = Policy(
        gpu=_said("rtx4090"),
        margin=_said("10%"),
        assume={"a": _said("1"), "b": _said("2")},
        ignore={"BEV302": IgnoredRule("BEV302", "the paper's", _PLACE)},
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
