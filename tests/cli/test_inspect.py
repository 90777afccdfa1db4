import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.cli.main import run
from bevdiag.memory.history import History
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.options import InspectOptions
from bevdiag.rules.finding import Finding, Severity

SOURCE = Path(__file__).parents[1] / "source" / "repo"


def test_the_report_is_all_that_stdout_holds(
    diagnosis: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", "model.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("model.yaml: CenterPoint\n")
    assert err == ""
    assert diagnosis.config == Path("model.yaml")
    assert diagnosis.options == InspectOptions()


@pytest.mark.parametrize("how", [[], ["--full"], ["--html", "page.html"]])
def test_the_verdict_waits_for_no_plans(
    diagnosis: Any,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    diagnosis.verdict = Verdict.OVER
    early: list[str] = []
    diagnosis.searches = lambda: early.append(capsys.readouterr().out)
    assert run(["inspect", "model.yaml", *how]) == 1
    rest = capsys.readouterr().out
    assert early[0].startswith("model.yaml: CenterPoint\n")
    assert "\nDoes not fit" in early[0]
    whole = tmp_path / "report.txt"
    assert run(["inspect", "model.yaml", *how, "-o", str(whole)]) == 1
    assert early == [early[0], ""]
    assert early[0] + rest == whole.read_text(encoding="utf-8")


def test_json_comes_at_once(diagnosis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    diagnosis.verdict = Verdict.OVER
    early: list[str] = []
    diagnosis.searches = lambda: early.append(capsys.readouterr().out)
    assert run(["inspect", "model.yaml", "--format", "json"]) == 1
    assert early == [""]
    assert capsys.readouterr().out


def test_every_option_arrives(diagnosis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "inspect model.yaml --device meta --points a.npy --points b.pcd --batch-size 4 "
        "--autocast bf16 --optimizer sgd --gpu a100-80gb --budget 22GiB --cudnn 9.1 "
        "--compression sparse_max --set A.B=1 --set C=[1,2] --no-remedies "
        "--assume site.kept=464367 --seed 7 --format json"
    )
    assert run(arguments.split()) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "bevdiag.inspect/2"
    assert diagnosis.options == InspectOptions(
        device="meta",
        points=("a.npy", "b.pcd"),
        batch_size=4,
        autocast="bf16",
        optimizer="sgd",
        gpu="a100-80gb",
        process_bytes=22 * 2**30,
        origin="--gpu and --budget",
        cudnn="9.1",
        compression="sparse_max",
        overrides=("A.B=1", "C=[1,2]"),
        pins={"site.kept": 464_367},
        seed=7,
        remedies=False,
    )


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict.FITS, 0),
        (Verdict.NO_BUDGET, 0),
        (Verdict.OVER, 1),
        (Verdict.DEPENDS, 3),
        (Verdict.UNKNOWN, 3),
    ],
)
def test_the_verdict_is_the_exit_code(diagnosis: Any, verdict: Verdict, code: int) -> None:
    diagnosis.verdict = verdict
    assert run(["inspect", "model.yaml"]) == code


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--device met", "--device: 'met' is not one of auto, meta, cuda (did you mean meta?)"),
        ("--autocast fp8", "--autocast: 'fp8' is not one of off, fp16, bf16"),
        ("--optimizer adamm", "did you mean adam?"),
        ("--compression sparsemax", "did you mean sparse_max?"),
        ("--format yaml", "--format: 'yaml' is not one of text, json"),
        ("--gpu a100-90", "--gpu: GPU 'a100-90' is not in the catalogue: did you mean a100-80gb"),
        ("--cudnn nine", "--cudnn: "),
        ("--source nowhere", "--source: there is no folder nowhere"),
        ("--data-root nowhere", "--data-root: there is no folder nowhere"),
        ("--budget lots", "--budget: 'lots' is no size"),
        ("--batch-size 0", "--batch-size: '0' is not a whole number from 1"),
        ("--batch-size 1e9", "--batch-size: '1e9' is not a whole number"),
        ("--depth 0", "--depth: '0' is not a whole number from 1"),
        ("--seed -1", "--seed: '-1' is not a whole number from 0"),
        ("--set A.B", "--set: 'A.B' is not of the form A.B=value"),
        ("--set =1", "--set: '=1' is not of the form A.B=value"),
        ("--assume site", "--assume: 'site' is not of the form SITE=COUNT"),
        ("--assume site=many", "--assume site: 'many' is not a whole number"),
        ("--assume s=1 --assume s=2", "--assume: s is pinned twice"),
        ("-o nowhere/report.txt", "-o: there is no folder nowhere"),
        ("-o .", "-o: . is a folder"),
        ("--nope", "--nope"),
    ],
)
def test_bad_usage_is_one_sentence(
    diagnosis: Any, capsys: pytest.CaptureFixture[str], arguments: str, sentence: str
) -> None:
    assert run(["inspect", "model.yaml", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert diagnosis.config is None


@pytest.mark.parametrize("how", ["--full", "-v", "--depth 2"])
def test_a_whole_report_has_the_evaluation(diagnosis: Any, how: str) -> None:
    assert run(["inspect", "model.yaml", *how.split()]) == 0
    assert diagnosis.options.evaluation


def test_what_shows_neither_traces_neither(diagnosis: Any, tmp_path: Path) -> None:
    shown = ["--gpu", "t4", "--format", "sarif"]
    assert run(["inspect", "model.yaml", *shown]) == 0
    assert (diagnosis.options.remedies, diagnosis.options.evaluation) == (False, False)
    page = str(tmp_path / "page.html")
    assert run(["inspect", "model.yaml", *shown, "--html", page]) == 0
    assert diagnosis.options.remedies is None


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("--format json --full", "--full"),
        ("--format sarif --depth 2", "--depth"),
        ("--format github --verbose", "-v"),
        ("--gpu t4 --format junit --remedies", "--remedies"),
        ("--margin 10%", "--margin"),
    ],
)
def test_what_has_no_effect_is_refused(
    diagnosis: Any, capsys: pytest.CaptureFixture[str], arguments: str, option: str
) -> None:
    assert run(["inspect", "model.yaml", *arguments.split()]) == 2
    assert f"error: {option}: " in capsys.readouterr().err
    assert diagnosis.config is None


def test_the_next_command_keeps_the_device(
    diagnosis: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", "model.yaml", "--device", "meta"]) == 0
    assert "$ bevdiag inspect model.yaml --device meta --full" in capsys.readouterr().out


def test_a_snapshot_is_written_as_bytes(diagnosis: Any, tmp_path: Path) -> None:
    diagnosis.snapshot = History(entries=(), segments=())
    path = tmp_path / "step.pickle"
    assert run(["inspect", "model.yaml", "--format", "memory-viz", "-o", str(path)]) == 0
    assert pickle.loads(path.read_bytes()) == {"segments": [], "device_traces": [[]]}
    assert diagnosis.options == InspectOptions(snapshot=True, remedies=False)


def test_where_nothing_was_traced_there_is_no_snapshot(
    diagnosis: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "step.pickle"
    finding = Finding(code="BEV103", severity=Severity.ERROR, message="no such thing")
    diagnosis.faults = (finding,)
    assert run(["inspect", "model.yaml", "--format", "memory-viz", "-o", str(path)]) == 1
    assert not path.exists()
    assert capsys.readouterr().err == (
        "model.yaml: nothing was traced, so there is no snapshot\nerror BEV103: no such thing\n"
    )


def test_preflight_has_no_snapshots(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["preflight", "model.yaml", "--format", "memory-viz"]) == 2
    assert "--format: 'memory-viz' is not one of text, json, sarif" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--source", str(SOURCE), "--device", "cuda"], "--device cuda measures models that are"),
        (["--remedies"], "--remedies: say what the step must fit"),
        (["--point-columns", "5"], "--point-columns: says how a .bin file is read"),
        (["--point-dtype", "float64"], "--point-dtype: says how a .bin file is read"),
        (["--format", "json", "--depth", "1"], "--depth: is of the text"),
        (["--margin", "10%", "--isolated"], "--margin: is taken off what the step must fit"),
        (["--step", "eval", "--optimizer", "sgd"], "and --optimizer belong to training"),
    ],
)
def test_an_option_without_an_effect_is_refused(
    diagnosis: Any, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", "model.yaml", *options]) == 2
    assert sentence in capsys.readouterr().err


def test_the_options_of_bin_files_reach_their_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(np.full((3, 5), 0.5).tobytes())
    config = Path(__file__).resolve().parents[1] / "rules" / "pointpillar.yaml"
    given = ["inspect", str(config), "--device", "meta", "--no-remedies", "--points", str(path)]
    assert run([*given, "--point-dtype", "float64"]) == 2
    assert "120 bytes are no whole number of points of 4 float64" in capsys.readouterr().err
    assert run([*given, "--point-columns", "2"]) == 2
    assert "--point-columns" in capsys.readouterr().err
    assert run([*given, "--point-columns", "5", "--point-dtype", "float64"]) != 2
