import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bevdiag import __version__
from bevdiag.cli.main import app, next_command, run
from bevdiag.errors import (
    ConfigError,
    InputError,
    Location,
    NoVerdictError,
    OutputError,
    RepositoryError,
)

COMMANDS = (
    "inspect", "fix", "fit", "compare", "check", "preflight", "baseline", "init", "explain",
    "doctor",
    "gpus", "rule", "schema", "scene", "calibrate", "validate",
)  # fmt: skip
_ROOT = Path(__file__).resolve().parents[2]


def _bevdiag(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=_ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_the_commands_and_the_exit_codes() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    listed = result.output.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)
    assert "Exit codes" in result.output


@pytest.mark.parametrize("command", ["inspect", "compare"])
def test_the_options_of_a_command_are_a_promise(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"]).output
    names = {word.rstrip(",.") for word in shown.split() if word.startswith("--")}
    common = {
        "--points", "--scene", "--point-columns", "--point-dtype",
        "--batch-size", "--autocast", "--optimizer", "--gpu", "--budget", "--cudnn",
        "--margin", "--torch", "--policy", "--isolated",
        "--compression", "--set", "--cfg-options", "--assume", "--seed", "--format", "--output",
        "--help",
        "--profile", "--cudnn-benchmark", "--source", "--html", "--timeout", "--rehearse",
        "--gpus", "--accumulate", "--scaler", "--ema", "--resume", "--batch",
    }  # fmt: skip
    inspects = {
        "--full", "--device", "--depth", "--remedies", "--no-remedies", "--data-root", "--verbose",
        "--step", "--entry",
    }  # fmt: skip
    own = inspects if command == "inspect" else set()
    assert names == common | own


def test_an_option_reads_the_same_wherever_it_stands() -> None:
    """But for those that a policy speaks for too, and --format, which has its own words."""
    reported: dict[str, set[str | None]] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for option in command.params:
            if name not in ("preflight", "baseline", "scene") and option.opts[0].startswith("-"):
                reported.setdefault(option.opts[0], set()).add(f"{option.metavar} {option.help}")
    several = {option for option, texts in reported.items() if len(texts) > 1}
    assert several == {
        "--format",
        "--batch-size", "--autocast", "--compression",  # compare and calibrate take lists
        "--cudnn-benchmark",  # what calibrate measures, others predict
    }  # fmt: skip


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"bevdiag {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_no_command_shows_the_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "commands", [[""], [*COMMANDS, "baseline write", "baseline show", "scene measure"]]
)
def test_help_imports_nothing_heavy(commands: list[str]) -> None:
    # For a command's help, typer itself may import pydantic.
    heavy = {"torch", "numpy", "spconv"} | ({"pydantic"} if commands == [""] else set())
    program = (
        "import sys; from bevdiag.cli.main import run; "
        f"[run([*command.split(), '--help']) for command in {commands}]; "
        f"print({heavy} & set(sys.modules))"
    )
    result = _bevdiag("-c", program)
    assert result.stdout.splitlines()[-1] == "set()"


def test_the_module_is_the_command() -> None:
    result = _bevdiag("-m", "bevdiag", "--version")
    assert (result.returncode, result.stdout) == (0, f"bevdiag {__version__}\n")


def test_the_command_ends_with_its_exit_functions_and_takes_nothing_apart() -> None:
    program = (
        "import atexit, sys; from bevdiag.cli.main import main; "
        "kept = type('Kept', (), {'__del__': lambda _: print('taken apart')})(); "
        "atexit.register(print, 'ended'); sys.argv[1:] = ['no-such']; main()"
    )
    result = _bevdiag("-c", program)
    assert (result.returncode, result.stdout) == (2, "ended\n")
    assert "no-such" in result.stderr


def test_a_config_error_is_one_sentence(diagnosis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    diagnosis.raises = ConfigError(
        "found 'x\x1b[2J', expected a number", location=Location(Path("m.yaml"), 3, 7), key="A.B"
    )
    assert run(["inspect", "m.yaml"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: m.yaml:3:7: A.B: found 'x[2J', expected a number; next: bevdiag check m.yaml\n",
    )


def test_an_error_brings_its_own_exit_code(diagnosis: Any) -> None:
    diagnosis.raises = NoVerdictError("the process that measured died of signal 8")
    assert run(["inspect", "m.yaml"]) == 3


def test_a_defect_is_reported_as_one(
    diagnosis: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEVDIAG_DEBUG", raising=False)
    diagnosis.raises = KeyError("blocks")
    assert run(["inspect", "m.yaml"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("internal error: KeyError: 'blocks'; this is a defect of bevdiag")
    assert err.count("\n") == 1


def test_a_defect_shows_where_on_demand(
    diagnosis: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEVDIAG_DEBUG", "1")
    diagnosis.raises = RecursionError("too deep")
    assert run(["inspect", "m.yaml"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_quiet(diagnosis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    diagnosis.raises = KeyboardInterrupt()
    assert run(["inspect", "m.yaml"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX pipe")
def test_a_reader_that_leaves_is_no_error() -> None:
    program = (
        "import os, sys; from bevdiag.cli import output; "
        "from bevdiag.cli.main import app, run; "
        "app.command('much')(lambda: output.write_output('x' * 2**20, '-')); "
        "sys.exit(run(['much']))"
    )
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=_ROOT, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    os.close(reader)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


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
