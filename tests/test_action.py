"""action.yml and .pre-commit-hooks.yaml, by running what they run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"]}
BAD, FIXED = "tests/rules/BEV103/bad.yaml", "tests/rules/BEV103/fixed.yaml"

# Notes how it was called, and does what a run with findings does.
STUB = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLED"], "w", encoding="utf-8") as file:
    json.dump(sys.argv[1:], file)
for argument in sys.argv[1:]:
    if argument.startswith("--also="):
        with open(argument.removeprefix("--also=").split("=", 1)[1], "w") as file:
            file.write("## bevdiag\\n")
print("::error::from a name")
sys.exit(int(os.environ["CODE"]))
"""
REAL = f"""#!{sys.executable}
import sys
from bevdiag.cli.main import run
sys.exit(run())
"""


class Runner:
    """As much of a GitHub runner as a step sees."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "work"
        self.work.mkdir()
        (folder / "bin").mkdir()
        self.install(STUB)

    def install(self, program: str) -> None:
        path = self.folder / "bin" / "bevdiag"
        path.write_text(program, encoding="utf-8")
        path.chmod(0o755)

    def run(self, step: str = "preflight", code: int = 0, system: str = "", **inputs: str):
        given = {
            name: entry["default"] for name, entry in ACTION["inputs"].items() if "default" in entry
        }
        given |= {name.replace("_", "-"): text for name, text in inputs.items()}
        env = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given.get(m[1], ""), text)
            for name, text in STEPS[step].get("env", {}).items()
        }
        files = {
            name: self.folder / name
            for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")
        }
        called = self.folder / "called"
        for file in (*files.values(), called):
            file.write_text("", encoding="utf-8")
        ran = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]["run"]],
            cwd=self.work,
            env={
                "PATH": f"{self.folder / 'bin'}:{system or os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "RUNNER_TEMP": str(self.folder),
                "GITHUB_ACTION_PATH": str(ROOT),
                "CALLED": str(called),
                "CODE": str(code),
                **{name: str(file) for name, file in files.items()},
                **env,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        outputs = files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines()
        arguments = called.read_text(encoding="utf-8")
        return SimpleNamespace(
            code=ran.returncode,
            out=ran.stdout,
            err=ran.stderr,
            outputs=dict(line.split("=", 1) for line in outputs),
            summary=files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"),
            path=files["GITHUB_PATH"].read_text(encoding="utf-8"),
            arguments=json.loads(arguments) if arguments else None,
        )


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_the_action_holds_the_schema_of_actions() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions"]
    subprocess.run([*check, str(ROOT / "action.yml")], check=True, capture_output=True)


def test_no_input_is_text_of_a_script() -> None:
    for step in STEPS.values():
        assert "${{" not in step["run"]


def test_every_input_arrives_at_the_step() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", " ".join(STEPS["preflight"]["env"].values())))
    assert used == set(ACTION["inputs"])
    reported = set(re.findall(r"outputs\.([\w-]+) }}", str(ACTION["outputs"])))
    assert reported == set(ACTION["outputs"])


def test_inputs_become_arguments(runner: Runner) -> None:
    ran = runner.run(
        configs="a.yaml\nb c.yaml\n",
        gpu="a100-80gb",
        budget="22GiB",
        args="--baseline=my memory.json\n--uncertain=pass",
        sarif_file="checks.sarif",
    )
    summary = f"--also=markdown={runner.folder}/bevdiag-summary.md"
    assert ran.arguments == [
        "preflight", "--format=github", summary, "--gpu=a100-80gb", "--budget=22GiB",
        "--also=sarif=checks.sarif", "--baseline=my memory.json", "--uncertain=pass",
        "a.yaml", "b c.yaml",
    ]  # fmt: skip
    assert ran.code == 0
    assert ran.summary == "## bevdiag\n"


def test_check_mode_runs_check_and_nothing_else_is_run(runner: Runner) -> None:
    assert runner.run(configs="a.yaml", command="check").arguments[0] == "check"
    ran = runner.run(configs="a.yaml", command="fix; touch owned")
    assert (ran.code, ran.arguments) == (2, None)


def test_what_is_left_out_is_no_argument(runner: Runner) -> None:
    ran = runner.run(configs="a.yaml")
    assert [part.split("=")[0] for part in ran.arguments] == [
        "preflight", "--format", "--also", "a.yaml",
    ]  # fmt: skip


def test_globs_find_files_with_spaces(runner: Runner) -> None:
    for name in ("one.yaml", "two three.yaml", "-dash.yaml"):
        (runner.work / name).touch()
    ran = runner.run(configs="*.yaml\nnone*.yml")
    assert sorted(ran.arguments[3:]) == ["./-dash.yaml", "none*.yml", "one.yaml", "two three.yaml"]


@pytest.mark.parametrize(
    "text",
    ["$(touch owned)", "`touch owned`", '"; touch owned; "', "a.yaml; touch owned", "$HOME 'x' \\"],
)
def test_nothing_in_an_input_is_executed(runner: Runner, text: str) -> None:
    ran = runner.run(configs=text, gpu=text, args=text, sarif_file=str(runner.folder / "x.sarif"))
    assert ran.arguments[3] == f"--gpu={text}"
    assert ran.arguments[-2:] == [text, text]
    assert not (runner.work / "owned").exists()


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, "pass"), (1, "fail"), (2, "broken"), (3, "no-verdict"), (130, "broken")],
)
def test_the_exit_code_is_passed_on_and_reported(runner: Runner, code: int, verdict: str) -> None:
    ran = runner.run(configs="a.yaml", code=code)
    assert ran.code == code
    assert ran.outputs == {"exit-code": str(code), "verdict": verdict}


def test_only_annotations_are_commands_to_the_runner(runner: Runner) -> None:
    assert runner.run(configs="a.yaml").out == "::error::from a name\n"
    stop, text, resume = runner.run(configs="a.yaml", format="text").out.splitlines()
    assert text == "::error::from a name"
    assert stop.removeprefix("::stop-commands::") == resume.strip(":")


def test_what_is_installed_already_is_used(runner: Runner) -> None:
    ran = runner.run("install")
    assert (ran.code, ran.path) == (0, "")


def test_what_is_missing_is_installed_apart(runner: Runner) -> None:
    (runner.folder / "bin" / "bevdiag").unlink()
    python = runner.folder / "bin" / "python3"
    python.write_text(
        'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; else echo "$@"; fi\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    for command, extra in (("preflight", "[torch]"), ("check", "")):
        ran = runner.run("install", system="/usr/bin:/bin", command=command)
        assert (ran.code, ran.out) == (0, f"-m pip install --quiet {ROOT}{extra}\n")
    assert ran.path == f"{runner.folder}/bevdiag/bin\n"


def test_bevdiag_itself_takes_what_the_action_gives_it(runner: Runner) -> None:
    runner.install(REAL)
    log = runner.folder / "checks.sarif"
    ran = runner.run(
        configs=f"{ROOT / BAD}\nnowhere.yaml",
        budget="22GiB",
        args="--isolated",
        sarif_file=str(log),
    )
    assert ran.code == 2
    assert ran.outputs == {"exit-code": "2", "verdict": "broken"}
    assert "title=bevdiag (BEV103)::the BEV map is 9 cells along y" in ran.out
    assert "BROKEN" in ran.summary
    results = json.loads(log.read_text(encoding="utf-8"))["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == ["BEV103"]


def test_the_hook_runs_as_pre_commit_runs_it() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    program, *arguments = hook["entry"].split()
    assert program == "bevdiag"
    called = [sys.executable, "-m", program, *arguments]
    for files, code in (([FIXED], 0), ([FIXED, BAD], 1)):
        ran = subprocess.run([*called, *files], cwd=ROOT, capture_output=True, check=False)
        assert ran.returncode == code
    for path, taken in (
        ("tools/cfgs/kitti_models/second.yaml", True),
        ("configs/mine.yaml", True),
        ("tools/cfgs/dataset_configs/kitti_dataset.yaml", False),
        (".github/workflows/ci.yaml", False),
    ):
        chosen = re.search(hook["files"], path) and not re.search(hook["exclude"], path)
        assert bool(chosen) == taken
