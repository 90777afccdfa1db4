"""The options of the loop around the step, which every predicting command takes."""

from pathlib import Path
from typing import Any

import pytest

from bevdiag.cli.asked import FIXED, REST, STEP, OptionTexts
from bevdiag.cli.main import run
from bevdiag.errors import InputError
from bevdiag.memory.loop import PLAIN, Loop


def test_without_any_the_loop_is_plain() -> None:
    assert OptionTexts().options().loop == PLAIN


def test_what_is_asked_of_the_loop_arrives() -> None:
    asked = OptionTexts(gpus="8", accumulate="4", scaler=True, ema=True)
    assert asked.options().loop == Loop(gpus=8, accumulate=4, scaler=True, ema=True)


def _repository(folder: Any) -> None:
    detectors = folder / "pcdet" / "models" / "detectors"
    detectors.mkdir(parents=True)
    (detectors / "__init__.py").touch()


def test_evaluation_is_a_repositorys_own_or_a_built_in_models(tmp_path: Any) -> None:
    _repository(tmp_path)
    assert OptionTexts(step="eval", source=str(tmp_path)).options().loop.evaluates
    assert OptionTexts(step="eval").options().loop.evaluates


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gpus": "0"}, "--gpus"),
        ({"accumulate": "x"}, "--accumulate"),
        ({"step": "test"}, "--step: 'test' is not one of train, eval"),
        ({"batch": "b.pt"}, "--batch: is for the model of a repository: give --source too"),
        ({"gpus": "2", "device": "cuda"}, "--device cuda measures the plain step"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        OptionTexts(**given).options()


@pytest.mark.parametrize("other", [{"points": ["a.bin"]}, {"scene": "counts.json"}])
def test_a_saved_batch_leaves_nothing_to_another_scene(tmp_path: Any, other: Any) -> None:
    _repository(tmp_path)
    (option,) = other
    with pytest.raises(InputError, match=f"--{option}: the batch is that of --batch"):
        OptionTexts(source=str(tmp_path), batch="b.pt", **other).options()


def test_evaluation_updates_nothing(tmp_path: Any) -> None:
    _repository(tmp_path)
    with pytest.raises(InputError, match="belong to training"):
        OptionTexts(step="eval", source=str(tmp_path), scaler=True).options()


@pytest.mark.parametrize("command", ["inspect", "preflight", "fix", "fit", "compare", "explain"])
def test_every_predicting_command_takes_them(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--gpus", "--accumulate", "--scaler", "--ema"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"points": ["a.bin"]}, "--points: has no effect on what --entry gives"),
        ({"batch": "b.pt"}, "--batch: has no effect"),
        ({"batch_size": "2"}, "--batch-size: has no effect"),
        ({"sets": ["A.B=1"]}, "--set: has no effect"),
        ({"compression": "max"}, "--compression: has no effect"),
        ({"step": "eval"}, "gives a training step"),
        ({"device": "cuda"}, "--device cuda measures models that are built in"),
    ],
)
def test_what_has_no_effect_on_an_entry_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        OptionTexts(entry="step.py:make", **given).options()


def test_an_entry_may_be_rehearsed_or_not_and_names_any_folder(tmp_path: Any) -> None:
    options = OptionTexts(entry="step.py:make", rehearse="off", source=str(tmp_path)).options()
    assert (options.entry, options.rehearses) == ("step.py:make", False)
    assert options.source == str(tmp_path)


def test_a_config_or_an_entry_is_needed() -> None:
    with pytest.raises(InputError, match="name a CONFIG, or a function with --entry"):
        OptionTexts().jobs([])
    assert str(OptionTexts(entry="a/step.py:make", isolated=True).job(None).config) == "a/step.py"


@pytest.mark.parametrize("command", ["fix", "fit", "compare"])
def test_what_works_on_configs_refuses_an_entry(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "model.yaml", "--entry", "step.py:make"]) == 2
    assert f"--entry: {command} " in capsys.readouterr().err


def test_the_next_command_has_the_options_that_were_given_and_no_others() -> None:
    asked = OptionTexts(
        source="my fork",
        cudnn="9.1",
        cudnn_benchmark=True,
        compression="max",
        sets=["A.B=1", "C=[1, 2]"],
        seed="0",
    )
    assert asked.command("fix", Path("a.yaml"), (*FIXED, *REST)) == (
        "bevdiag fix a.yaml --source 'my fork' --cudnn 9.1 --cudnn-benchmark --set A.B=1 "
        "--set 'C=[1, 2]'"
    )
    entry = OptionTexts(entry="step.py:make", gpu="h200")
    assert entry.command("inspect", None, STEP) == "bevdiag inspect --entry step.py:make"


def test_a_snapshot_is_no_terminals_business(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["inspect", "model.yaml", "--format", "memory-viz"]) == 2
    assert "--format memory-viz is no text: name a file with -o" in capsys.readouterr().err
