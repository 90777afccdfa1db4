"""Imports that may kill the interpreter, tried on modules that do."""

from pathlib import Path

import pytest

from bevdiag.environment.probes import probe_imports

_FATAL = "import os, signal; os.kill(os.getpid(), signal.SIGFPE)\n"


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands before everything else on the child's path."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "cumm").mkdir()
    (tmp_path / "spconv").mkdir()
    (tmp_path / "spconv" / "__init__.py").write_text("__version__ = '2.3.6'\n", encoding="utf-8")
    (tmp_path / "spconv" / "pytorch.py").write_text("print('hello')\n", encoding="utf-8")
    return tmp_path


def test_a_signal_is_named_and_the_next_stage_runs(modules: Path) -> None:
    (modules / "cumm" / "__init__.py").write_text(
        f"class tensorview:\n    def from_numpy(array):\n        {_FATAL}", encoding="utf-8"
    )
    cumm, spconv = probe_imports(["cumm", "spconv"])
    assert (cumm.signal, cumm.error) == ("SIGFPE", "")
    assert spconv.facts == {"version": "2.3.6"}


def test_an_exception_is_reported(modules: Path) -> None:
    (modules / "cumm" / "__init__.py").write_text("", encoding="utf-8")
    (cumm,) = probe_imports(["cumm"])
    assert cumm.error.startswith("ImportError: cannot import name 'tensorview'")


def test_leaving_without_a_word_and_hanging_are_failures(modules: Path) -> None:
    (modules / "spconv" / "pytorch.py").write_text("import os; os._exit(3)\n", encoding="utf-8")
    (left,) = probe_imports(["spconv"])
    assert "exit code 3" in left.error
    (modules / "spconv" / "pytorch.py").write_text(
        "import time; time.sleep(60)\n", encoding="utf-8"
    )
    (hanging,) = probe_imports(["spconv"], timeout=0.5)
    assert "nothing happened" in hanging.error


def test_the_working_directory_is_not_searched(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "numpy.py").write_text("raise SystemExit(7)\n", encoding="utf-8")
    monkeypatch.chdir(here)
    (modules / "cumm" / "__init__.py").write_text("tensorview = None\n", encoding="utf-8")
    (cumm,) = probe_imports(["cumm"])
    assert cumm.error.startswith("AttributeError")
