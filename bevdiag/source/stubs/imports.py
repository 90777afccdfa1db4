"""Finds a stub for what a repository imports and is not there, or is compiled for a GPU.

Who imports decides: only the repository's own files get one. What torch, NumPy or another installed
package tries to import and does not find must fail for it, as it has code for that case. Extension
modules get theirs although they are built: their kernels ask for memory that is not there.
"""

import ast
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any

from bevdiag.source.state import watched
from bevdiag.source.stubs.compiled_ops import OPS
from bevdiag.source.stubs.inert import OF_DATA_SETS, InertModule, filled
from bevdiag.source.stubs.small_packages import PACKAGES, modules_of
from bevdiag.source.stubs.spconv import spconv_modules
from bevdiag.source.stubs.unknown_ops import folder_of, functions_in, unknown_op

_IMPORTLIB = str(Path(importlib.__file__).parent)
_COMPILED_ENDINGS = ("_cuda", "_ext", "_cpp", "_gpu")
_COMMON = ("forward", "backward")
"""Names of functions that say nothing."""
_ON_GPU = ("flash_attn", "pytorch3d", "triton")
"""Packages whose functions are kernels: a repository gets a stub although they are installed."""
_OF_WINDOWS, _WINDOWS = "_tkinter", ("tkinter", "turtle")
"""What Python may be built without, and what needs it; editors import `turtle` by themselves."""


class StubFinder:
    """The last finder in sys.meta_path: it is asked about what no one else could find.

    Args:
        root: the repository.
        ops: functions of the repository's extension modules, by the module's name.
        beside: folders of installed packages that are its own code's kind: their extension modules
            and what they import get stubs as well.

    Attributes:
        missing: top-level packages that were replaced by inert modules.
        compiled: extension modules of the repository for which nothing is known.
    """

    def __init__(
        self, root: Path, ops: Mapping[str, Mapping[str, Any]], beside: Sequence[Path] = ()
    ) -> None:
        self.missing: list[str] = []
        self.compiled: list[str] = []
        self._root = root.resolve()
        self._beside = tuple(folder.resolve() for folder in beside)
        self._ops = ops

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a stub, None where the import is to fail."""
        module = self._module(name, path)
        if module is None:
            return None
        if isinstance(module, Path):
            return importlib.machinery.PathFinder.find_spec(name, [str(module)])
        return _spec(name, module)

    def _module(self, name: str, path: Sequence[str] | None) -> ModuleType | Path | None:
        """Make a stub, or find the folder of a package that the repository brings along."""
        top, last = name.partition(".")[0], name.rpartition(".")[2]
        if path and any(self._is_ours(p) for p in path):
            return self._of_repository(name, last, [Path(p) for p in path])
        importer = _importer(sys._getframe(1))
        if importer is None or not self._is_ours(importer.f_code.co_filename):
            return None
        if isinstance(sys.modules.get(top), InertModule):
            return InertModule(name)
        brought = _brought_along(self._root, name) if "." not in name else None
        if brought is not None:
            return brought
        if name in self._ops:
            return filled(name, **self._ops[name])
        folder = folder_of(self._root, name, []) if "." not in name else None
        if folder is not None and name not in PACKAGES:
            return self._extension(name, name, folder)
        if name in PACKAGES:
            made = modules_of(name)
            module = made.pop(name)
            sys.modules.update(made)  # its submodules; itself, import puts there
            return module
        # Training has its data set's package, so that it never comes to the code without one.
        if "." in name or (name not in OF_DATA_SETS and _is_guarded(importer)):
            return None
        self.missing.append(name)
        return InertModule(name)

    def _is_ours(self, file: str) -> bool:
        found = Path(file).resolve()
        return any(found.is_relative_to(folder) for folder in (self._root, *self._beside))

    def _of_repository(self, name: str, last: str, folders: list[Path]) -> ModuleType | None:
        if last == "version":
            return filled(name, __version__="0")
        folder = folder_of(self._root, last, folders)
        if folder is None:
            folder = folders[0] if last in self._ops or last.endswith(_COMPILED_ENDINGS) else None
        return None if folder is None else self._extension(name, last, folder)

    def _extension(self, name: str, last: str, folder: Path) -> ModuleType:
        """Make a module with the operations that are known, and the others that its C++ defines."""
        defined = functions_in(self._root, folder)
        known = self._ops.get(last) or known_by_name(self._ops, last, defined)
        if not known and not defined:
            self.compiled.append(name)
            return InertModule(name)
        unknown = {
            function.name: unknown_op(name, function)
            for function in defined.values()
            if function.name not in known
        }
        return filled(name, **watched(name, {**unknown, **known}))

    def find_built(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a stub for what is built or installed and asks for a GPU, else None.

        For the first finder in sys.meta_path: what is compiled is not run, it is there or not.
        """
        if path is None and name in _ON_GPU:
            module = self._module(name, None)
            return _spec(name, module) if isinstance(module, ModuleType) else None
        if path is None:
            return _spec(name, filled(name, **self._ops[name])) if name in self._ops else None
        folders = [Path(p) for p in path if self._is_ours(p)]
        built = importlib.machinery.PathFinder.find_spec(name, path) if folders else None
        if built is None or not isinstance(built.loader, importlib.machinery.ExtensionFileLoader):
            return None
        last = name.rpartition(".")[2]
        folder = folder_of(self._root, last, folders)
        return _spec(name, self._extension(name, last, folder or folders[0]))


def known_by_name(
    ops: Mapping[str, Mapping[str, Any]], module: str, defined: Iterable[str]
) -> dict[str, Any]:
    """Find a module's operations: those of the one whose name it begins with.

    Functions whose name only one known module uses are that module's, wherever they are.
    """
    alike = next((ops[name] for name in ops if module.startswith(name)), {})
    found = {}
    for function in defined:
        holders = [known[function] for known in ops.values() if function in known]
        if function in alike:
            found[function] = alike[function]
        elif len(holders) == 1 and function not in _COMMON:
            found[function] = holders[0]
    return found


@cache
def _brought_along(root: Path, name: str) -> Path | None:
    """Find the folder below the repository whose setup.py would install this package."""
    for below in sorted(root.glob(f"**/{name}/__init__.py")):
        if (below.parents[1] / "setup.py").is_file() and below.parents[1] != root:
            return below.parents[1]
    return None


def _spec(name: str, module: ModuleType) -> importlib.machinery.ModuleSpec | None:
    loader: Any = SimpleNamespace(create_module=lambda _: module, exec_module=lambda _: None)
    return importlib.util.spec_from_loader(name, loader, is_package=True)


def install(
    root: Path, ops: Mapping[str, Mapping[str, Any]] = OPS, beside: Sequence[Path] = ()
) -> StubFinder:
    """Put the stubs in place for a repository at `root`, as `StubFinder` takes them."""
    sys.modules.update(spconv_modules())
    stub_windows()
    finder = install_packages(root, ops, beside)
    sys.meta_path.insert(0, SimpleNamespace(find_spec=finder.find_built))
    return finder


def install_packages(
    root: Path, ops: Mapping[str, Mapping[str, Any]], beside: Sequence[Path] = ()
) -> StubFinder:
    """Put stubs in place for what is not installed, and for the extension modules in `ops`."""
    from bevdiag.source.stubs import scatter

    sys.modules["torch_scatter"] = scatter
    finder = StubFinder(root, ops, beside)
    sys.meta_path.append(finder)
    return finder


def stub_windows() -> None:
    """Stubs for what opens windows, where Python was built without."""
    if importlib.util.find_spec(_OF_WINDOWS) is None:
        sys.modules.update({name: InertModule(name) for name in _WINDOWS})


def _importer(frame: FrameType | None) -> FrameType | None:
    """Find the frame whose import statement, or call of importlib, is running."""
    machinery = (__file__, "<frozen importlib", _IMPORTLIB)
    while frame is not None and frame.f_code.co_filename.startswith(machinery):
        frame = frame.f_back
    return frame


def _is_guarded(frame: FrameType) -> bool:
    """Whether the import that is running stands in a `try` that provides for its failure."""
    return any(
        first <= frame.f_lineno <= last for first, last in _guarded_lines(frame.f_code.co_filename)
    )


@cache
def _guarded_lines(file: str) -> tuple[tuple[int, int], ...]:
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(
        (node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and node.handlers
    )
