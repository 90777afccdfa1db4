"""The doctor's verdict, beyond the single rules that tests/rules holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from bevdiag.doctor.examine import Checkup, examine
from bevdiag.errors import ExitCode, InputError
from bevdiag.report.printable import Layout
from bevdiag.report.text.doctor_report import write_doctor
from bevdiag.report.text.prose import rendered
from bevdiag.rules.finding import Confidence, Severity

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


def test_code_for_a_lower_minor_version_runs_on_a_newer_gpu(tmp_path: Path) -> None:
    text = "python==3.8\nnumpy==1.23.5\ntorch==1.12.1+cu113\n"
    assert _examine(tmp_path, text, gpu="rtx4090").findings == ()
    (found,) = _examine(tmp_path, text, gpu="h100-80gb").findings
    assert found.code == "BEV707"


def test_the_command_takes_a_torch_that_this_python_has_and_its_spconv(tmp_path: Path) -> None:
    text = "python==3.8\nnumpy==1.23.5\ntorch==1.12.1+cu113\nspconv-cu113==2.3.6\n"
    found = _examine(tmp_path, text, gpu="h100-80gb").findings
    command = next(f.command for f in found if f.message.startswith("torch"))
    assert "torch==2.4.1 --index-url https://download.pytorch.org/whl/cu124" in command
    assert "pip uninstall -y spconv-cu113" in command
    assert "spconv-cu120==2.3.6" in command  # the newest with a wheel for Python 3.8


@pytest.mark.parametrize(
    ("python", "driver", "command"),
    [
        ("3.10", "470.57", "torch==2.4.1 --index-url https://download.pytorch.org/whl/cu118"),
        ("3.13", "470.57", "python=3.11, and there: python -m pip install --upgrade"),
        ("3.12", "535.104.05", "torch --index-url https://download.pytorch.org/whl/cu128"),
        ("3.8", "340.1", ""),
    ],
)
def test_the_command_takes_a_torch_that_the_driver_runs(
    tmp_path: Path, python: str, driver: str, command: str
) -> None:
    text = f"python=={python}\nnumpy==2.1\ntorch==2.11.0\n"
    (found,) = _examine(tmp_path, text, driver=driver).findings
    assert found.code == "BEV705"
    assert command in found.command
    assert command or not found.command


def test_before_cuda_11_a_driver_runs_no_newer_minor_version(tmp_path: Path) -> None:
    text = "python==3.8\nnumpy==1.20.3\ntorch==1.8.0+cu102\n"
    (found,) = _examine(tmp_path, text, driver="418.87").findings
    assert found.code == "BEV705"
    assert "runs CUDA 10.1 at most" in found.message
    assert "CUDA 10.2 needs driver 440" in found.detail[1]
    assert _examine(tmp_path, text, driver="440.33").findings == ()


def test_where_this_python_has_no_such_torch_another_python_is_the_way(tmp_path: Path) -> None:
    text = "python==3.8\nnumpy==1.23.5\ntorch==1.12.1+cu113\n"
    (found,) = _examine(tmp_path, text, gpu="rtx5090").findings
    assert found.command.startswith("conda create -n training python=3.11, and there: ")
    assert found.command.endswith("whl/cu130")


@pytest.mark.parametrize(
    ("torch", "gpu", "code"),
    [("1.10.0", "rtx4090", "BEV707"), ("1.12.1", "v100-16gb", None), ("1.2.0", "a10", "BEV707")],
)
def test_a_torch_before_1_13_has_its_default_cuda(
    tmp_path: Path, torch: str, gpu: str, code: str | None
) -> None:
    checkup = _examine(tmp_path, f"python==3.7\ntorch=={torch}\n", gpu=gpu)
    errors = [f.code for f in checkup.findings if f.severity is Severity.ERROR]
    assert errors == ([code] if code else [])
    assert not checkup.unknown


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("python==3.8\ntorch==0.4.1\n", "which CUDA torch 0.4.1 was built with"),
        ("python==3.8\ntorch==1.10.0+cu75\n", "CUDA 7.5 is not known"),
        ("python==3.8\ntorch==1.8.1+cu111\nspconv==1.2.1\n", "compiled against one torch"),
        ("python==3.8\nnumpy==1.22\ntorch==1.10.0+cu113\nspconv-cu113==2.1.21\n", "which cumm"),
    ],
)
def test_what_no_table_tells_is_said_to_be_unknown(
    tmp_path: Path, text: str, question: str
) -> None:
    checkup = _examine(tmp_path, text)
    assert any(question in unknown for unknown in checkup.unknown)
    assert checkup.exit_code is ExitCode.NO_VERDICT


@pytest.mark.parametrize(
    ("package", "is_wrong"),
    [
        ("torch-scatter==2.0.9+pt112cu113", True),
        ("torch-scatter==2.1.1+pt113cu117", False),
        ("torch-sparse==0.6.16+pt113cu116", False),  # CUDA 11 throughout
        ("torch-cluster==1.6.0+pt113cpu", False),
        ("torchvision==0.14.1+cu102", True),
        ("flash-attn==2.5.8+cu118torch2.3cxx11abiFALSE", True),
        ("torch-geometric==2.3.0", False),
    ],
)
def test_an_extension_says_for_which_torch_it_was_built(
    tmp_path: Path, package: str, is_wrong: bool
) -> None:
    text = f"python==3.8\nnumpy==1.23.5\ntorch==1.13.1+cu117\n{package}\n"
    found = _examine(tmp_path, text).findings
    assert [finding.code for finding in found] == (["BEV712"] if is_wrong else [])


def test_no_more_is_said_to_be_right_than_was_looked_at(tmp_path: Path) -> None:
    text = "python==3.11\nnumpy==1.26.4\ntorch==2.7.1\nspconv-cu126==2.3.8\n"
    bare = _examine(tmp_path, text)
    assert "torch's CUDA 12.6" in bare.looked_at
    assert not any("kernels" in what for what in bare.looked_at)
    named = _examine(tmp_path, text, gpu="rtx4090", driver="570.86")
    assert {"its kernels for rtx4090", "the driver beside it"} <= set(named.looked_at)
    assert "nothing wrong in what was looked at: torch's CUDA 12.6" in " ".join(
        rendered(Layout(width=80), write_doctor, bare).split()
    )


def test_the_alternative_to_an_old_numpy_uninstalls_first(tmp_path: Path) -> None:
    (found,) = _examine(tmp_path, REPORT).findings[:1]
    assert any(
        "python -m pip uninstall -y spconv-cu120 cumm-cu120 && python -m pip install" in line
        for line in found.detail
    )
