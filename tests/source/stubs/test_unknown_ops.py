import importlib
import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bevdiag.source.stubs.imports import CompiledFinder, StubFinder
from bevdiag.source.stubs.unknown_ops import Kernel
from tests.source.stubs.finders import Write


@pytest.fixture
def compiled(finder: StubFinder) -> Iterator[StubFinder]:
    first = CompiledFinder(finder)
    sys.meta_path.insert(0, first)
    yield finder
    sys.meta_path.remove(first)


def test_an_operator_that_is_built_gets_its_stub_all_the_same(
    compiled: StubFinder, write: Write, tmp_path: Path
) -> None:
    # No library at all: loading it would fail.
    ops = tmp_path / "repo" / "ops_13"
    ops.mkdir()
    (ops / "__init__.py").touch()
    (ops / f"spin_13{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"built for a GPU")
    (ops / "setup.py").write_text("CUDAExtension('ops_13.spin_13', [])")
    (ops / "spin.cpp").write_text('void spin(int n) {}\nm.def("spin_wrapper", &spin);')
    module = write("repo/of_repo_13.py", "from ops_13.spin_13 import spin_wrapper")
    assert module.spin_wrapper.__name__ == "spin_wrapper"


def test_kernels_that_are_installed_get_a_stub_where_the_repository_asks(
    compiled: StubFinder, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    (tmp_path / "site" / "triton.py").write_text("jit = 'the real one'")
    library = write("site/library_14.py", "import triton")
    assert library.triton.jit == "the real one"
    del sys.modules["triton"]
    module = write("repo/of_repo_14.py", "import triton\n\n@triton.jit\ndef kernel(x): ...")
    assert isinstance(module.kernel, Kernel)
