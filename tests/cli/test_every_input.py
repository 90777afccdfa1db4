"""Every option that names a text: what is no plain file, too large or built to take long."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bevdiag.cli.main import run

from ..hostile.limits import ended

CONFIG = str(Path(__file__).resolve().parents[1] / "rules/pointpillar.yaml")

READERS = {
    "CONFIG": "check {}",
    "--policy": f"check {CONFIG} --policy {{}}",
    "--requirements": "doctor --requirements {}",
    "--log": "explain --log {}",
    "--baseline": f"preflight {CONFIG} --baseline {{}}",
    "baseline show": "baseline show {}",
    "baseline write": f"baseline write {{}} {CONFIG}",
    "--profile": f"inspect {CONFIG} --device meta --profile {{}}",
    "--points": f"inspect {CONFIG} --device meta --points {{}}",
    "--rows": "validate --rows {}",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["pipe.npy", "zero.npy", "folder.npy", "socket.npy", "none.npy"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_plain_file_is_refused_at_once(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.npy")
    Path("zero.npy").symlink_to("/dev/zero")
    Path("folder.npy").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.npy")
    if name == "baseline write" and kind == "none.npy":
        return  # is made
    ending = ended(*READERS[name].format(kind).split())
    assert ending.code == 2, ending
    assert kind in ending.out + ending.err
    assert "internal error" not in ending.err
    assert ending.growth_bytes < 2**28


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("--log", "--points")])
def test_a_file_that_is_too_large_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 2**32)  # takes no room on the disk
    ending = ended(*READERS[name].format(path).split())
    assert ending.code == 2, ending
    assert "larger than" in " ".join((ending.out + ending.err).split())
    assert ending.growth_bytes < 2**28


def test_of_a_large_log_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    os.truncate(path, 2**32)
    with path.open("ab") as stream:
        stream.write(b"\nCUDA out of memory. Tried to allocate 2.00 GiB.\n")
    assert ended("explain", "--log", str(path)).code == 0


_MANY = 100_000
HOSTILE = {
    "a deep key": ("--policy", ".".join("a" * 30_000) + " = 1"),
    "a deep table": ("--policy", "[" + ".".join("a" * 30_000) + "]"),
    "deep tables in deep tables": ("--policy", f"a = [{{{'.'.join('a' * 30)} = [" * 60),
    "many keys": (
        "--policy", "[assume]\n" + "".join(f"a{n} = 1\n" for n in range(9_000)) + "a = -1",
    ),
    "many lines": (
        "--policy", "\n" * 9 * 10**5 + "[ignore]\n" + "".join(f"a{n}='x'\n" for n in range(9_000)),
    ),
    "a huge number": ("--policy", "gpu = 0x" + "f" * 10**5),
    "a huge count": ("--policy", "batch_size = 0x" + "f" * 10**5),
    "a huge assumption": ("--policy", "[assume]\na = 0x" + "f" * 10**5),
    "many empty workspaces": ("--profile", '{"convolutions": [' + "{}," * 10**6 + "{}]}"),
    "many workspaces": ("--profile", '{"convolutions": [' + "{}," * 32_000 + "{}]}"),
    "many empty entries": (
        "--baseline",
        '{"schema": "bevdiag.baseline/1", "configs": {'
        + ",".join(f'"{n}": {{}}' for n in range(_MANY)) + "}}",
    ),
    "entries": (
        "--baseline",
        '{"schema": "bevdiag.baseline/1", "configs": {'
        + ",".join(f'"{n}": {{}}' for n in range(32_000)) + "}}",
    ),
    "many lists": ("--rows", "[" + "[]," * 5 * 10**6 + "[]]"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_built_to_take_long_is_refused_in_seconds(name: str, tmp_path: Path) -> None:
    """Within the seconds of processor time and the gibibyte that `ended` allows."""
    option, text = HOSTILE[name]
    path = tmp_path / "hostile.toml"
    path.write_text(text, encoding="utf-8")
    ending = ended(*READERS[option].format(path).split())
    assert ending.code == 2, ending
    assert "internal error" not in ending.err
    assert ending.growth_bytes < 2**30


def test_stdin_without_an_end_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bevdiag", "explain", "--log", "-", "--timeout", "1"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(CONFIG).parents[2])},
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(60) == 2
    assert said.startswith("error: --log: stdin has said nothing for 1 s and has not ended")


def test_a_policy_that_is_no_plain_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody has named is looked for, not opened."""
    config = tmp_path / "c.yaml"
    config.write_bytes(Path(CONFIG).read_bytes())
    os.mkfifo(tmp_path / "bevdiag.toml")
    (tmp_path / "pyproject.toml").symlink_to("/dev/zero")
    (tmp_path / ".git").touch()
    assert run(["check", str(config)]) == 0
