import importlib
import importlib.machinery
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version

from bevdiag.source.stubs import imports
from bevdiag.source.stubs.imports import CompiledFinder, StubFinder
from bevdiag.source.stubs.inert import Inert, InertModule
from bevdiag.source.stubs.unknown_ops import Kernel

Write = Callable[[str, str], ModuleType]


@pytest.fixture
def finder(tmp_path: Path) -> Iterator[StubFinder]:
    (tmp_path / "repo").mkdir()
    (tmp_path / "site").mkdir()
    before = set(sys.modules)
    made = StubFinder(tmp_path / "repo", {})
    sys.meta_path.append(made)
    sys.path[:0] = [str(tmp_path / "repo"), str(tmp_path / "site")]
    yield made
    del sys.path[:2]
    sys.meta_path.remove(made)
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path, finder: StubFinder) -> Write:
    def make(place: str, code: str) -> ModuleType:
        (tmp_path / place).write_text(code)
        importlib.invalidate_caches()
        return importlib.import_module(Path(place).stem)

    return make


def test_what_the_repository_imports_gets_a_stub(finder: StubFinder, write: Write) -> None:
    module = write("repo/of_repo_1.py", "import not_there_1.deep\nfrom not_there_1 import Base")
    assert isinstance(module.not_there_1, InertModule)
    assert finder.missing == ["not_there_1"]


def test_what_an_installed_package_does_not_find_fails_for_it(
    finder: StubFinder, write: Write
) -> None:
    with pytest.raises(ModuleNotFoundError, match="not_there_2"):
        write("site/library_2.py", "import not_there_2")
    assert finder.missing == []


def test_a_package_beside_is_treated_as_the_repositorys_own(
    finder: StubFinder, write: Write, tmp_path: Path
) -> None:
    beside = tmp_path / "site" / "beside_11"
    beside.mkdir()
    finder._beside = (beside.resolve(),)
    finder._ops = {"thing_layer": {"double": lambda value: 2 * value}}
    (beside / "__init__.py").write_text("from . import thing_layer\nimport not_there_11\n")
    importlib.invalidate_caches()
    module = importlib.import_module("beside_11")
    assert module.thing_layer.double(4) == 8
    assert isinstance(module.not_there_11, InertModule)


def test_so_it_does_where_the_repository_imports_that_package(
    finder: StubFinder, write: Write, tmp_path: Path
) -> None:
    (tmp_path / "site" / "library_3.py").write_text(
        "try:\n    import not_there_3 as it\nexcept ImportError:\n    it = None\n"
    )
    module = write("repo/of_repo_3.py", "import importlib\nimport library_3")
    assert module.library_3.it is None
    assert finder.missing == []


def test_importlib_in_the_repository_is_the_repository(write: Write) -> None:
    module = write(
        "repo/of_repo_4.py", "import importlib\nx = importlib.import_module('not_there_4')"
    )
    assert isinstance(module.x, InertModule)


def test_torch_s_own_optional_imports_fail_as_they_would(finder: StubFinder) -> None:
    code = compile("import optree_of_nobody", sys.modules["torch"].__file__ or "", "exec")
    with pytest.raises(ModuleNotFoundError):
        exec(code, {})


def test_a_stub_has_a_version(write: Write) -> None:
    module = write("repo/of_repo_5.py", "import not_there_5")
    assert Version(module.not_there_5.__version__) > Version("1.0")


def test_windows_that_python_was_built_without_need_none(
    finder: StubFinder, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_OF_WINDOWS", "no_windows_12")
    for name in imports._WINDOWS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    imports.stub_windows()
    module = write("repo/of_repo_12.py", "from turtle import forward")
    assert isinstance(module.forward, Inert)


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
