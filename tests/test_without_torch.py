"""Where PyTorch is not installed: what needs none of it works, the rest says what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "tests" / "data" / "small.yaml"
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "spconv"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

sys.meta_path.insert(0, Absent())
from bevdiag.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", str(CONFIG)],
        ["rule", "BEV203"],
        ["schema", "inspect/2"],
        ["doctor"],
        ["--version"],
        ["-h"],
        [],
    ],
    ids=" ".join,
)
def test_what_reads_and_explains_works(arguments: list[str]) -> None:
    ended = _run(*arguments)
    assert ended.returncode in (0, 1), ended.stderr
    assert "torch" not in ended.stderr
    assert ended.stdout


def test_a_message_is_explained(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(
        "CUDA out of memory. Tried to allocate 75.10 GiB. GPU 0 has a total capacity of 79.14 GiB "
        "of which 24.71 GiB is free."
    )
    ended = _run("explain", "--log", str(log))
    assert "75.10 GiB" in ended.stdout, ended.stderr


@pytest.mark.parametrize("command", ["inspect", "fit", "fix", "compare", "preflight"])
def test_the_rest_says_what_is_missing(command: str) -> None:
    ended = _run(command, str(CONFIG), "--gpu", "rtx4090")
    assert ended.returncode == 2
    assert "pip install 'bevdiag[torch]'" in ended.stderr
    assert "internal error" not in ended.stderr


def test_an_install_changes_no_training_environment() -> None:
    """Neither torch nor a second spconv comes with it: they are extras."""
    written = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hard = written["project"]["dependencies"]
    assert hard
    assert not [line for line in hard if line.startswith(("torch", "spconv", "nvidia-c"))]
