"""`bevdiag check`: exit codes and formats, without torch."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest

from bevdiag.cli.main import run
from bevdiag.cli.reference import schema_text
from bevdiag.config import Document, read_document
from bevdiag.prediction import checked

ROOT = Path(__file__).parents[2]
BAD, FIXED = (str(ROOT / "tests/rules/BEV103" / name) for name in ("bad.yaml", "fixed.yaml"))
SHIPPED = str(ROOT / "configs/focalsst_dsvt.yaml")


def test_torch_is_never_imported() -> None:
    script = (
        "import sys; from bevdiag.cli.main import run; code = run(sys.argv[1:]); "
        "print({'torch', 'numpy', 'spconv'} & set(sys.modules)); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, "check", SHIPPED, BAD, "--format", "github"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[-1] == "set()"
    assert ran.stderr == ""


def test_clean_configs_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", SHIPPED, FIXED]) == 0
    assert capsys.readouterr().out.endswith("Configs: 2 without errors.\n")


def test_the_worst_config_decides_and_comes_last(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("MODEL: [", encoding="utf-8")
    assert run(["check", str(broken), BAD, SHIPPED]) == 2
    out, err = capsys.readouterr()
    assert out.index("error BEV103") < out.index("broken.yaml")
    assert out.endswith("Configs: 1 without errors, 1 with errors, 1 that cannot be used.\n")
    assert err == ""


def test_a_missing_config_is_reported_beside_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "nowhere.yaml", SHIPPED, "--format", "json"]) == 2
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads(schema_text("preflight")))
    assert [check["exit_code"] for check in document["checks"]] == [2, 0]
    assert "nowhere.yaml" in document["checks"][0]["failure"]


def test_a_defect_in_one_config_does_not_silence_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(config: Path, overrides: Sequence[str]) -> Document:
        if config == Path(BAD):
            raise KeyError("blocks")
        return read_document(config, overrides)

    monkeypatch.setattr(checked, "read_document", read)
    assert run(["check", BAD, SHIPPED]) == 3
    out = capsys.readouterr().out
    assert "internal error: KeyError: 'blocks'" in out
    assert out.endswith("Configs: 1 without errors, 1 not checked.\n")


def test_what_is_not_modelled_is_a_note(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/rules/second.yaml", tmp_path)
    config = tmp_path / "point_head.yaml"
    config.write_text(
        "_BASE_CONFIG_: second.yaml\nMODEL:\n    POINT_HEAD:\n        NAME: PointHeadSimple\n",
        encoding="utf-8",
    )
    assert run(["check", str(config), "--format", "json"]) == 0
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert "PointHeadSimple" in check["notes"][0]


def test_the_policy_silences(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    policy = tmp_path / "bevdiag.toml"
    policy.write_text('[ignore]\nBEV103 = "known"\n', encoding="utf-8")
    assert run(["check", BAD, "--policy", str(policy)]) == 0
    assert "silenced BEV103" in capsys.readouterr().out
    assert run(["check", BAD, "--isolated"]) == 1
    assert run(["check", BAD, "--policy", str(policy), "--isolated"]) == 2
    assert "without effect" in capsys.readouterr().err


def test_an_override_is_checked_too() -> None:
    assert run(["check", SHIPPED, "--set", "MODEL.VFE.NAME=SDAVEF"]) == 1


def test_junit_says_nothing_of_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", SHIPPED, "--format", "junit"]) == 0
    assert 'name="budget"' not in capsys.readouterr().out


def test_one_check_is_written_in_several_formats(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log, summary = tmp_path / "checks.sarif", tmp_path / "a b.md"
    arguments = ["check", BAD, "--format", "github", "--also", f"sarif={log}"]
    assert run([*arguments, "--also", f"markdown={summary}"]) == 1
    assert capsys.readouterr().out.startswith("::error file=")
    (result,) = json.loads(log.read_text(encoding="utf-8"))["runs"][0]["results"]
    assert result["ruleId"] == "BEV103"
    assert summary.read_text(encoding="utf-8").startswith("## bevdiag\n")


@pytest.mark.parametrize(
    ("also", "sentence"),
    [
        ("sarif", "--also: 'sarif' is not of the form FORMAT=FILE"),
        ("sarif=-", "--also: 'sarif=-' is not of the form FORMAT=FILE"),
        ("sarof=x", "--also: 'sarof' is not one of json, sarif, junit, github, markdown (did you"),
        ("sarif=nowhere/x", "--also: there is no folder nowhere to write x in"),
    ],
)
def test_another_format_that_cannot_be_written_is_bad_usage(
    capsys: pytest.CaptureFixture[str], also: str, sentence: str
) -> None:
    assert run(["check", SHIPPED, "--also", also]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {sentence}")
