"""The doctor's verdict, beyond the single rules that tests/rules holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from bevdiag.doctor.examine import Checkup, examine
from bevdiag.errors import ExitCode, InputError
from bevdiag.rules.finding import Confidence

REPORT = "python==3.10\nnumpy==2.0.2\ntorch==2.4.1\nspconv-cu120==2.3.6\ncumm-cu120==0.4.11\n"
"""The first obstacle of the diagnosis report: SIGFPE until NumPy went back to 1.26.4."""


def _examine(tmp_path: Path, text: str, **options: str) -> Checkup:
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    return examine(path, options.get("gpu"), options.get("driver"), lambda what, share: None)


def test_the_reports_environment_is_refused_and_mended(tmp_path: Path) -> None:
    sick = _examine(tmp_path, REPORT)
    assert sick.exit_code is ExitCode.FINDINGS
    first = sick.findings[0]
    assert first.code == "BEV701"
    assert first.location is not None
    assert first.location.line == 2
    assert first.command == 'python -m pip install "numpy<2"'
    healthy = _examine(tmp_path, REPORT.replace("2.0.2", "1.26.4").replace("2.4.1", "2.7.1"))
    assert healthy.findings == ()
    assert healthy.exit_code is ExitCode.FITS


@pytest.mark.parametrize("numpy", ["numpy>=1.22\n", ""])
def test_what_pip_would_take_is_likely_not_certain(tmp_path: Path, numpy: str) -> None:
    text = f"python==3.10\n{numpy}torch==2.7.1\nspconv-cu120\n"
    checkup = _examine(tmp_path, text)
    (found,) = checkup.findings
    assert (found.code, found.confidence) == ("BEV701", Confidence.LIKELY)
    assert checkup.exit_code is ExitCode.NO_VERDICT


def test_a_newer_spconv_reads_numpy_2(tmp_path: Path) -> None:
    text = "python==3.11\nnumpy==2.2.1\ntorch==2.7.1\nspconv-cu126==2.3.8\n"
    assert _examine(tmp_path, text).exit_code is ExitCode.FITS


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("requests==2.0\n", "neither torch nor spconv"),
        ("python==3.10\ntorch>=2\n", "which torch"),
        ("torch==2.7.1\nnumpy==1.26.4\nspconv-cu126==2.3.8\n", "your Python"),
    ],
)
def test_what_a_list_leaves_open_is_no_verdict(tmp_path: Path, text: str, question: str) -> None:
    checkup = _examine(tmp_path, text)
    assert any(question in unknown for unknown in checkup.unknown)
    assert checkup.exit_code is ExitCode.NO_VERDICT


def test_a_newer_gpu_runs_spconvs_ptx(tmp_path: Path) -> None:
    text = "python==3.11\nnumpy==1.26.4\ntorch==2.8.0\nspconv-cu126==2.3.8\n"
    checkup = _examine(tmp_path, text, gpu="rtx5090")
    (found,) = checkup.findings
    assert found.code == "BEV707"
    assert "compiles its PTX" in found.message
    assert checkup.exit_code is ExitCode.FITS


def test_an_unknown_gpu_or_driver_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rtx9999"):
        _examine(tmp_path, REPORT, gpu="rtx9999")
    with pytest.raises(InputError, match="--driver: 'new'"):
        _examine(tmp_path, REPORT, driver="new")


def test_the_doctor_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(REPORT, encoding="utf-8")
    program = (
        "import sys; from bevdiag.cli.main import run; "
        f"code = run(['doctor', '--requirements', {str(path)!r}]); "
        "assert code == 1, code; assert not {'torch', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)
