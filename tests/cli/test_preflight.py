"""The gate as a user meets it: exit codes, what it prints, and what it launches."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.cli.asked import OptionTexts
from bevdiag.cli.main import run
from bevdiag.cli.preflight import _next_command
from bevdiag.errors import ExitCode, NoVerdictError
from bevdiag.prediction.checked import Check

SMALL = Path(__file__).parents[1] / "rules" / "pointpillar.yaml"


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    shutil.copy(SMALL, tmp_path / "model.yaml")
    return Path("model.yaml")


def edited(config: Path, name: str, old: str, new: str) -> str:
    text = config.read_text(encoding="utf-8")
    assert old in text
    Path(name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return name


def test_exit_codes_of_every_kind_of_config(config, capsys):
    Path("broken.yaml").write_text("MODEL: [\n", encoding="utf-8")
    unmodelled = edited(config, "unmodelled.yaml", "BaseBEVBackbone", "BaseBEVBackboneV1")
    for name, code in (("broken.yaml", 2), ("absent.yaml", 2), (unmodelled, 3)):
        assert run(["preflight", name, "--budget", "22GiB"]) == code, name
        assert name in capsys.readouterr().out
    assert run(["preflight", str(config), "--budget", "22GiB"]) == 0
    assert "pass" in capsys.readouterr().out
    assert run(["preflight", str(config), "--budget", "22MiB"]) == 1
    assert "Tried to allocate" in capsys.readouterr().out


def test_quiet_says_nothing_when_all_pass(config, capsys):
    assert run(["preflight", str(config), "--budget", "22GiB", "-q"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    Path("report.txt").write_text("of another run", encoding="utf-8")
    assert run(["preflight", str(config), "--budget", "22GiB", "-q", "-o", "report.txt"]) == 0
    assert "pass" in Path("report.txt").read_text(encoding="utf-8")
    assert run(["preflight", str(config), "--budget", "22MiB", "-q"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_the_project_decides_where_the_command_line_does_not(config, capsys):
    Path("bevdiag.toml").write_text('budget = "22MiB"\n', encoding="utf-8")
    assert run(["preflight", str(config)]) == 1
    assert "Judged by 22.00 MiB" in capsys.readouterr().out
    assert run(["preflight", str(config), "--isolated"]) == 0
    assert "no budget to judge by" in capsys.readouterr().out


def test_a_command_runs_after_a_pass_alone_and_its_exit_code_is_ours(config, capfd):
    program = "import sys; print('trained'); sys.exit(9)"
    command = ["--", sys.executable, "-c", program]
    assert run(["preflight", str(config), "--budget", "22MiB", *command]) == 1
    assert "trained" not in capfd.readouterr().out
    assert run(["preflight", str(config), "--budget", "22GiB", *command]) == 9
    captured = capfd.readouterr()
    assert captured.out == "trained\n"
    assert "pass" in captured.err


def test_a_run_that_dies_of_memory_is_explained(config, capfd):
    message = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    program = f"import sys; sys.exit({message!r})"
    command = ["--", sys.executable, "-c", program]
    assert run(["preflight", str(config), "--budget", "22GiB", "-q", *command]) == 1
    assert "2.00 GiB" in capfd.readouterr().err.split(message)[1]


def test_the_explanation_knows_how_the_step_was_run(config, capfd, monkeypatch):
    message = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    asked = []

    def explain(text, model, options, progress):
        asked.append((model, options))
        raise NoVerdictError("the process that traces died")

    monkeypatch.setattr("bevdiag.explain.explain.explain", explain)
    Path("bevdiag.toml").write_text('autocast = "bf16"\n', encoding="utf-8")
    command = [
        "--",
        sys.executable,
        "-c",
        f"import sys; print({message!r}, file=sys.stderr); exit(9)",
    ]
    given = ["--budget", "22GiB", "--batch-size", "2", "--torch", "2.4", "-q"]
    assert run(["preflight", str(config), *given, *command]) == 9
    assert "error: the process that traces died" in capfd.readouterr().err
    ((model, options),) = asked
    assert model == config
    assert (options.batch_size, options.autocast, options.torch) == (2, "bf16", "2.4")
    assert options.budget_bytes is None


def test_a_baseline_that_cannot_be_read_is_reported_before_any_work(config, capsys, monkeypatch):
    monkeypatch.setattr("bevdiag.cli.preflight.run_jobs", lambda jobs: pytest.fail("traced"))
    assert run(["preflight", str(config), "--baseline", "nowhere.json"]) == 2
    assert "nowhere.json" in capsys.readouterr().err


def test_growth_since_a_baseline_fails(config, capsys):
    assert run(["baseline", "write", "memory.json", str(config)]) == 0
    against = ["preflight", str(config), "--budget", "22GiB", "--baseline", "memory.json"]
    assert run(against) == 0
    assert run(["baseline", "show", "memory.json"]) == 0
    assert "model.yaml" in capsys.readouterr().out
    assert run([*against, "--batch-size", "8"]) == 1
    assert "BEV311" in capsys.readouterr().out


def test_json_holds_every_report(config, capsys):
    arguments = ["preflight", str(config), "absent.yaml", "--budget", "22GiB", "--format", "json"]
    assert run(arguments) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "bevdiag.preflight/2"
    assert document["exit_code"] == 2
    first, second = document["checks"]
    assert (first["verdict"], first["report"]["schema"]) == ("fits", "bevdiag.inspect/2")
    assert (second["verdict"], second["report"]) == (None, None)
    assert "absent.yaml" in second["failure"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tolerance", "much"],
        ["--uncertain", "maybe"],
        ["--format", "pdf"],
        ["--policy", "absent.toml"],
        ["--baseline", "absent.json"],
        ["--margin", "nearly all"],
        ["--tolerance", "2%"],
    ],
)
def test_bad_usage_is_one_sentence(config, capsys, arguments):
    assert run(["preflight", str(config), "--budget", "1GiB", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_uncertain_verdict_can_be_let_pass(config):
    unmodelled = edited(config, "unmodelled.yaml", "BaseBEVBackbone", "BaseBEVBackboneV1")
    assert run(["preflight", unmodelled, "--budget", "22GiB", "--uncertain", "pass"]) == 0


def test_the_next_command_keeps_what_was_asked(config, capsys):
    absent = "configs/not there.yaml"
    assert run(["preflight", absent, "--budget", "1GiB", "--isolated", "--set", "A.B=1"]) == 2
    assert capsys.readouterr().out.splitlines()[-1] == (
        "Next: bevdiag check 'configs/not there.yaml' --set A.B=1 --isolated"
    )
    unmodelled = edited(config, "unmodelled.yaml", "BaseBEVBackbone", "BaseBEVBackboneV1")
    assert run(["preflight", unmodelled, "--budget", "22GiB", "--step", "eval"]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == (
        "Next: bevdiag inspect unmodelled.yaml --budget 22GiB --step eval --source DIR"
    )


def test_the_next_command_of_an_entry_names_no_config():
    failed = Check(config="step.py", failure="it raised", failure_code=ExitCode.NO_VERDICT)
    asked = OptionTexts(entry="step.py:make", budget="22GiB")
    command = "bevdiag inspect --entry step.py:make --budget 22GiB"
    assert _next_command(asked, [failed]) == command
    assert _next_command(asked, [replace(failed, failure_code=ExitCode.USAGE)]) == command
