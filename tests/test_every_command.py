"""Every command once, on the PyTorch that is installed: a smoke for environments of other kinds."""

from pathlib import Path

import numpy as np
import pytest

from bevdiag.cli.main import app, run

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


def test_none_is_left_out() -> None:
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert {name.split()[0] for name in COMMANDS} == known
