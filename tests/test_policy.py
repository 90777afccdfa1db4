import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bevdiag.cli.reference import schema_text
from bevdiag.errors import ConfigError, Location
from bevdiag.policy import KEYS, Policy, Setting, find_policy, policy_toml, read_policy

TEXT = """\
gpu = "a100-80gb"
margin = "10%"
ignore = {BEV305 = "the slots are full in winter"}

[assume]
"backbone_3d.focal_encoder.kept_voxels" = 464367

[[config]]
files = "waymo/*.yaml"
budget = "22GiB"
batch_size = 2

[[config]]
files = ["waymo/big.yaml", "*/huge.yaml"]
batch_size = 1
"""


def written(folder: Path, text: str, name: str = "bevdiag.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_later_tables_override_earlier_ones(tmp_path):
    file = read_policy(written(tmp_path, TEXT))
    plain = file.of(tmp_path / "kitti.yaml")
    assert plain.settings["gpu"].text == "a100-80gb"
    assert "batch_size" not in plain.settings
    assert plain.assume["backbone_3d.focal_encoder.kept_voxels"].text == "464367"
    special = file.of(tmp_path / "waymo" / "small.yaml")
    assert special.settings["batch_size"].text == "2"
    big = file.of(tmp_path / "waymo" / "big.yaml")
    assert big.settings["batch_size"].text == "1"
    assert big.ignore["BEV305"].text == "the slots are full in winter"


def test_memory_said_anew_replaces_both_of_its_settings(tmp_path):
    policy = read_policy(written(tmp_path, TEXT)).of(tmp_path / "waymo" / "small.yaml")
    assert policy.settings.keys() >= {"budget", "margin"}
    assert "gpu" not in policy.settings


def test_a_setting_knows_its_line(tmp_path):
    path = written(tmp_path, TEXT)
    policy = read_policy(path).of(tmp_path / "waymo" / "small.yaml")
    budget = policy.settings["budget"].location
    assert (budget.line, budget.column) == (10, 1)
    assert policy.ignore["BEV305"].location.line == 3


def test_pyproject_has_a_table_of_its_own(tmp_path):
    text = (
        '[project]\nname = "x"\n[tool.bevdiag]\ngpu = "t4"\n[[tool.bevdiag.config]]\nfiles = "*"\n'
    )
    policy = read_policy(written(tmp_path, text, "pyproject.toml")).of(tmp_path / "a.yaml")
    assert policy.settings["gpu"].text == "t4"


@pytest.mark.parametrize(
    ("text", "gpu"),
    [
        ('[tool]\nbevdiag = {gpu = "t4"}\n', "t4"),
        ('[tool."bevdiag"]\ngpu = "t4"\n', "t4"),
        ('[tool.other]\nuses = "tool.bevdiag"\n', "h200"),
    ],
)
def test_a_table_of_pyproject_is_found_as_toml_means_it(tmp_path, text, gpu):
    written(tmp_path, 'gpu = "h200"\n')
    (tmp_path / "below").mkdir()
    written(tmp_path / "below", text, "pyproject.toml")
    config = tmp_path / "below" / "a.yaml"
    assert read_policy(find_policy(config)).of(config).settings["gpu"].text == gpu


@pytest.mark.parametrize("text", ["tool = 3  # tool.bevdiag\n", "tool.bevdiag = 3\n"])
def test_what_is_no_table_of_pyproject_is_one_sentence(tmp_path, text):
    path = written(tmp_path, text, "pyproject.toml")
    with pytest.raises(ConfigError, match=r"expected a table, \[tool.bevdiag\]"):
        read_policy(path)


def test_the_nearest_file_counts_up_to_the_root_of_the_repository(tmp_path):
    written(tmp_path, "")
    repository = tmp_path / "repository"
    configs = repository / "configs"
    configs.mkdir(parents=True)
    assert find_policy(configs / "a.yaml") == tmp_path / "bevdiag.toml"
    (repository / ".git").mkdir()
    assert find_policy(configs / "a.yaml") is None
    written(repository, "[project]\n", "pyproject.toml")
    assert find_policy(configs / "a.yaml") is None
    written(repository, "[tool.bevdiag]\n", "pyproject.toml")
    assert find_policy(configs / "a.yaml") == repository / "pyproject.toml"
    written(configs, "")
    assert find_policy(configs / "a.yaml") == configs / "bevdiag.toml"


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ('\nbugdet = "22GiB"', 2, "did you mean 'budget'"),
        ("gpu = 4090", 1, "expected text in quotes, not 4090"),
        ('batch_size = "2"', 1, "expected a whole number"),
        ("batch_size = true", 1, "expected a whole number"),
        ('[ignore]\nBEV305 = ""', 2, "expected the reason"),
        ("ignore = 3", 1, "expected a table"),
        ('[assume]\n"a.b" = -1', 2, "expected a count, not -1"),
        ("[[config]]\nbudget = '1GiB'", 1, 'every [[...config]] needs files = "PATTERN"'),
        ("config = 3", 1, "expected [[...config]]"),
    ],
)
def test_what_no_policy_can_say_is_reported_with_its_place(tmp_path, text, line, sentence):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        read_policy(path)
    assert sentence in str(refused.value)
    if "needs files" not in sentence:
        assert f"{path}:{line}:" in str(refused.value)


@pytest.mark.parametrize("data", [b"gpu = ", b"\xff\xfe", b"[" * 5000, b"x" * (2**20 + 1)])
def test_what_is_no_toml_is_reported_in_one_sentence(tmp_path, data):
    path = tmp_path / "bevdiag.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"bevdiag\.toml") as refused:
        read_policy(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(tmp_path / "absent.toml")


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = json.loads(schema_text("policy"))


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
    assert {*policy.settings, "assume", "ignore"} == {key.name for key in KEYS}
    assert policy.assume
    assert policy.ignore
    big = read_policy(path).of(tmp_path / "cfgs/big/x.yaml")
    assert big.settings["gpu"] != policy.settings["gpu"]


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


_PLACE = Location(Path("bevdiag.toml"), 1, 1)


def _said(text: str) -> Setting:
    return Setting(text, _PLACE)


def test_a_later_table_decides_what_it_names_and_leaves_the_rest() -> None:
    wide = Policy(
        settings={"gpu": _said("rtx4090"), "margin": _said("10%")},
        assume={"a": _said("1"), "b": _said("2")},
        ignore={"BEV302": Setting("the paper's", _PLACE)},
    )
    narrow = Policy(settings={"margin": _said("2GiB")}, assume={"b": _said("3")})
    both = wide.overridden(narrow)
    assert both.settings == {**wide.settings, **narrow.settings}
    assert {site: said.text for site, said in both.assume.items()} == {"a": "1", "b": "3"}
    assert both.ignore == wide.ignore


def test_a_gpu_and_a_budget_are_said_anew_together() -> None:
    """Otherwise a config's own GPU would be judged by the project's smaller budget."""
    project = Policy(settings={"gpu": _said("rtx4090"), "budget": _said("20GiB")})
    both = project.overridden(Policy(settings={"gpu": _said("h200")}))
    assert both.settings == {"gpu": _said("h200")}
