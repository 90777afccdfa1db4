"""`bevdiag gpus`: the catalogue, without torch."""

import subprocess
import sys

import pytest

from bevdiag.cli.main import run
from bevdiag.memory.catalogue import all_gpus


def test_every_gpu_is_listed_with_its_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gpus"]) == 0
    out = capsys.readouterr().out
    assert all(f"{gpu.name} " in out for gpu in all_gpus())
    assert "15.61 GiB" in out


def test_one_gpu_names_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gpus", "RTX A4000"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "DengKaiCQ/VGGT-Long issue 6" in out
    assert "compute 8.6, 48 multiprocessors" in out


def test_an_unknown_one_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gpus", "MI300X"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_list_needs_no_torch() -> None:
    program = (
        "import sys; from bevdiag.cli.main import run; assert run(['gpus']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)
