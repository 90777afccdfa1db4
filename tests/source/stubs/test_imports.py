import importlib
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from bevdiag.source.stubs import imports
from bevdiag.source.stubs.imports import StubFinder
from bevdiag.source.stubs.inert import Inert, InertModule
from tests.source.stubs.finders import Write


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


def test_a_guarded_import_fails_unless_it_is_of_a_data_sets_package(
    finder: StubFinder, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "OF_DATA_SETS", ("frames_13",))
    module = write(
        "repo/of_repo_13.py",
        "try:\n    from frames_13 import label\n    from frames_13.deep import metrics\n"
        "except Exception:\n    label = metrics = None\n"
        "try:\n    import kernels_13\nexcept ImportError:\n    kernels_13 = None\n"
        "kinds = {'Car': label.Label.TYPE_VEHICLE}",
    )
    assert isinstance(module.kinds["Car"], Inert)
    assert isinstance(module.metrics, Inert)
    assert module.kernels_13 is None
    assert finder.missing == ["frames_13"]


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
