"""Whatever ends with 2 or 3 names a command that goes on from there."""

from pathlib import Path

import pytest

from bevdiag.cli.main import run
from bevdiag.cli.next_command import next_command
from bevdiag.errors import (
    ConfigError,
    InputError,
    Location,
    NoVerdictError,
    OutputError,
    RepositoryError,
)

PLACE = Location(Path("cfgs/my model.yaml"), 3, 1)
POLICY = Location(Path("bevdiag.toml"), 1, 1)

CASES = {
    "a config": (
        ConfigError("no number", location=PLACE),
        ["inspect", "cfgs/my model.yaml"],
        "bevdiag check 'cfgs/my model.yaml'",
    ),
    "a config without a place": (
        ConfigError("there is no such file"),
        ["fit", "none.yaml"],
        "bevdiag check none.yaml",
    ),
    "a policy": (
        ConfigError("no such setting", location=POLICY),
        ["preflight", "a.yaml"],
        "bevdiag schema policy",
    ),
    "an option": (InputError("--seed: no number"), ["inspect", "a"], "bevdiag inspect --help"),
    "a command of a group": (
        InputError("--points"),
        ["scene", "measure", "x"],
        "bevdiag scene measure --help",
    ),
    "no command": (InputError("what?"), ["--version", "x"], "bevdiag --help"),
    "not built in": (
        NoVerdictError("not modelled"),
        ["inspect", "a.yaml", "--gpu", "h200"],
        "bevdiag inspect a.yaml --source DIR",
    ),
    "not with the repository either": (
        NoVerdictError("no loss"),
        ["inspect", "a.yaml", "--source=x"],
        "bevdiag check a.yaml",
    ),
    "a machine without a GPU": (NoVerdictError("none"), ["calibrate"], "bevdiag doctor"),
    "the repository's own code": (
        RepositoryError("KeyError"),
        ["inspect", "a.yaml", "--source", "x"],
        "BEVDIAG_DEBUG=1 bevdiag inspect a.yaml --source x",
    ),
    "the host's memory": (
        NoVerdictError("the child ran out of the host's memory"),
        ["inspect", "a.yaml", "--source", "x"],
        "bevdiag inspect a.yaml --source x --batch-size 1",
    ),
    "the host's memory, with a batch of one's own": (
        NoVerdictError("the child ran out of the host's memory"),
        ["inspect", "--entry", "a.py:f"],
        "bevdiag inspect --entry a.py:f",
    ),
    "a full disk": (OutputError("full"), ["check", "a.yaml"], "bevdiag check a.yaml"),
    "named already": (InputError("no such rule: bevdiag rule lists all"), ["rule", "x"], ""),
    "a defect": (ValueError("ours"), ["check"], ""),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_has_its_command(case: str) -> None:
    error, arguments, expected = CASES[case]
    assert next_command(error, arguments) == expected


@pytest.mark.parametrize(
    "line",
    [
        "inspect none.yaml",
        "inspect configs/focalsst_dsvt.yaml --gpu nosuch",
        "inspect configs/focalsst_dsvt.yaml --no-such-option",
        "inspect configs/focalsst_dsvt.yaml --source none",
        "check tests/rules/none.yaml",
        "preflight tests/rules/none.yaml --gpu h200",
        "preflight configs/*.txt --gpu h200",
        "fix none.yaml --gpu h200",
        "fit none.yaml --gpu h200",
        "compare none.yaml",
        "baseline show none.json",
        "explain",
        "doctor --requirements none.txt",
        "gpus nosuch",
        "rule nosuch",
        "schema nosuch",
        "scene measure none.npy",
        "validate --rows none.json",
        "calibrate --autocast fp8",
        "nosuch",
    ],
)
def test_every_command_names_the_next_one(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert run(line.split()) in (2, 3)
    said = capsys.readouterr()
    assert "bevdiag " in said.out + said.err
    assert "internal error" not in said.err
