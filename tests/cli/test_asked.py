"""The options of the loop around the step, which every predicting command takes."""

from typing import Any

import pytest

from bevdiag.cli.asked import Asked
from bevdiag.cli.main import run
from bevdiag.errors import InputError
from bevdiag.memory.loop import PLAIN, Loop


def test_without_any_the_loop_is_plain() -> None:
    assert Asked().options().loop == PLAIN


def test_what_is_asked_of_the_loop_arrives() -> None:
    asked = Asked(gpus="8", accumulate="4", scaler=True, ema=True)
    assert asked.options().loop == Loop(gpus=8, accumulate=4, scaler=True, ema=True)


def _repository(folder: Any) -> None:
    detectors = folder / "pcdet" / "models" / "detectors"
    detectors.mkdir(parents=True)
    (detectors / "__init__.py").touch()


def test_evaluation_is_a_repositorys_own(tmp_path: Any) -> None:
    _repository(tmp_path)
    assert Asked(step="eval", source=str(tmp_path)).options().loop.evaluates


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gpus": "0"}, "--gpus"),
        ({"accumulate": "x"}, "--accumulate"),
        ({"step": "test"}, "--step: 'test' is not one of train, eval"),
        ({"step": "eval"}, "--step eval .* give --source"),
        ({"batch": "b.pt"}, "--batch: is for the model of a repository: give --source too"),
        ({"gpus": "2", "device": "cuda"}, "--device cuda measures the plain step"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Asked(**given).options()


@pytest.mark.parametrize("other", [{"points": ["a.bin"]}, {"scene": "counts.json"}])
def test_a_saved_batch_leaves_nothing_to_another_scene(tmp_path: Any, other: Any) -> None:
    _repository(tmp_path)
    (option,) = other
    with pytest.raises(InputError, match=f"--{option}: the batch is that of --batch"):
        Asked(source=str(tmp_path), batch="b.pt", **other).options()


def test_evaluation_updates_nothing(tmp_path: Any) -> None:
    _repository(tmp_path)
    with pytest.raises(InputError, match="belong to training"):
        Asked(step="eval", source=str(tmp_path), scaler=True).options()


@pytest.mark.parametrize("command", ["inspect", "preflight", "fix", "fit", "compare", "explain"])
def test_every_predicting_command_takes_them(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--gpus", "--accumulate", "--scaler", "--ema"))
