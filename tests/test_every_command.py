"""Every command once, on the PyTorch that is installed: a smoke for environments of other kinds.

And every option that commands share: it arrives at what is predicted, or is refused.
"""

import inspect
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from bevdiag.cli.asked import OptionTexts, _option
from bevdiag.cli.explain import explain_command
from bevdiag.cli.main import app, run
from bevdiag.errors import BevdiagError
from bevdiag.prediction import target

SHIPPED = "configs/focalsst_dsvt.yaml"
SOURCE = "tests/source/repo"
OF_SOURCE = f"{SOURCE}/tools/cfgs/models/one_stage.yaml"

COMMANDS: dict[str, tuple[list[str], int]] = {
    "inspect": (["inspect", OF_SOURCE, "--source", SOURCE], 0),
    "fix": (["fix", SHIPPED, "--budget", "500GiB"], 0),
    "fit": (["fit", SHIPPED, "--budget", "24GiB"], 1),
    "compare": (["compare", SHIPPED, "--compression", "max"], 0),
    "check": (["check", SHIPPED], 0),
    "preflight": (["preflight", SHIPPED, "--budget", "500GiB", "--", "true"], 1),
    "explain": (
        ["explain", "CUDA out of memory. Tried to allocate 2.00 GiB", "--config", SHIPPED],
        3,
    ),
    "doctor": (["doctor"], 0),
    "gpus": (["gpus"], 0),
    "rule": (["rule"], 0),
    "schema": (["schema"], 0),
    "init": (["init", "-o", "{folder}/bevdiag.toml"], 0),
    "scene measure": (["scene", "measure", "{folder}/cloud.npy", "-o", "{folder}/scene.json"], 0),
    "calibrate": (["calibrate", "-o", "{folder}/profile.json"], 3),
    "validate": (["validate"], 0),
    "baseline write": (["baseline", "write", "{folder}/baseline.json", SHIPPED], 0),
    "baseline show": (["baseline", "show", "{folder}/baseline.json"], 0),
}
"""Arguments and exit code. A machine without a GPU cannot calibrate; preflight finds an error."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    np.save(folder / "cloud.npy", np.random.default_rng(0).random((50, 4), np.float32))
    return folder


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])


@pytest.mark.parametrize("name", COMMANDS)
def test_it_ends_as_it_should(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, code = COMMANDS[name]
    ended = run([argument.format(folder=folder) for argument in arguments])
    said = capfd.readouterr()
    assert ended == code, said.err
    assert "internal error" not in said.err
    assert "Traceback" not in said.err


OTHER: dict[str, object] = {
    **{"device": "cuda", "source": SOURCE, "entry": "step.py:make", "batch": "batch.npz"},
    **{"points": ["cloud.npy"], "scene": "scene.json", "point_columns": "5"},
    **{"point_dtype": "float64", "batch_size": "3", "autocast": "bf16", "optimizer": "sgd"},
    **{"compression": "max", "gpu": "t4", "budget": "9GiB", "margin": "10%", "torch": "2.6.0"},
    **{"cudnn": "9.1", "profile": "none", "gpus": "2", "accumulate": "2", "step": "eval"},
    **{"sets": ["A=1"], "data_root": ".", "assume": ["a.py:1=2"], "seed": "7", "timeout": "9"},
    **{"rehearse": "off", "policy": "{folder}/policy.toml"},
}
"""By option, what it is not by default; of a flag, that it is given."""
SHARED = [field.name for field in fields(OptionTexts)]


@pytest.mark.parametrize("source", [None, SOURCE])
@pytest.mark.parametrize("name", SHARED)
def test_a_shared_option_arrives_or_is_refused(
    name: str, source: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "gpu_at_hand", lambda options: options)
    for file, optimizer in (("bevdiag", "adam"), ("policy", "sgd")):
        (tmp_path / f"{file}.toml").write_text(f'optimizer = "{optimizer}"\n')
    plain = OptionTexts(source=source)
    other = OTHER[name] if getattr(plain, name) is not False else True
    other = other.format(folder=tmp_path) if isinstance(other, str) else other
    config = tmp_path / "model.yaml"
    if other == getattr(plain, name):
        plain = OptionTexts()
    given = replace(plain, **{name: Path(str(other)) if name == "policy" else other})
    try:
        arrives, said = given.job(config) != plain.job(config), ""
    except BevdiagError as error:
        arrives, said = False, str(error)
    assert arrives or _option(name).split()[0] in said


@pytest.mark.parametrize("name", list(inspect.signature(explain_command).parameters))
def test_what_says_which_step_it_is_needs_a_config(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name not in SHARED or name == "entry":
        return
    option, other = _option(name), OTHER.get(name)
    for value in other if isinstance(other, list) else [other]:
        words = [option] if value is None else [option, str(value)]
        assert run(["explain", "CUDA out of memory. Tried to allocate 2.00 GiB", *words]) == 2
    assert f"{option}: says which step the text is held against" in capsys.readouterr().err


def test_none_is_left_out() -> None:
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert {name.split()[0] for name in COMMANDS} == known
