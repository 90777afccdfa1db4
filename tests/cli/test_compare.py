import json
from pathlib import Path
from typing import Any

import pytest

from bevdiag.cli import compare
from bevdiag.cli.main import run
from bevdiag.files.shipped import SHIPPED_NAME
from bevdiag.memory.verdict import Verdict


def test_axes_arrive_without_repeats(diagnosis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "compare model.yaml --compression max,learned,max --batch-size 1,2,4 --autocast off,bf16"
    )
    assert run(arguments.split()) == 0
    assert diagnosis.axes == (("max", "learned"), (1, 2, 4), ("off", "bf16"))
    assert capsys.readouterr().out.startswith("/somewhere/model.yaml")


def test_what_is_not_asked_for_is_left_to_the_config(diagnosis: Any) -> None:
    assert run(["compare", "model.yaml"]) == 0
    compressions, batch_sizes, autocasts = diagnosis.axes
    assert "sparse_max" in compressions
    assert batch_sizes == autocasts == ()
    assert diagnosis.options.device == "meta"
    assert diagnosis.options.batch_size is None


def test_without_a_config_the_shipped_one_is_used_and_named(
    diagnosis: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(compare, "shipped_config", lambda: tmp_path / "shipped.yaml")
    assert run(["compare", "--format", "json"]) == 0
    assert diagnosis.config == tmp_path / "shipped.yaml"
    assert json.loads(capsys.readouterr().out)["config"] == SHIPPED_NAME


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.FITS, 0), (Verdict.OVER, 1), (Verdict.UNKNOWN, 3)]
)
def test_the_verdict_is_the_exit_code(diagnosis: Any, verdict: Verdict, code: int) -> None:
    diagnosis.verdict = verdict
    assert run(["compare", "model.yaml"]) == code


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--compression maxx", "did you mean max?"),
        ("--compression max,,mean", "--compression: '' is not one of"),
        ("--batch-size 1,x", "--batch-size: 'x' is not a whole number"),
        ("--autocast on", "--autocast: 'on' is not one of off, fp16, bf16"),
    ],
)
def test_bad_usage_is_one_sentence(
    diagnosis: Any, capsys: pytest.CaptureFixture[str], arguments: str, sentence: str
) -> None:
    assert run(["compare", "model.yaml", *arguments.split()]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
