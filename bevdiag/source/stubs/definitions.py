"""The extension modules that a repository would compile, read from its sources.

Names come from its setup.py files and from PYBIND11_MODULE and TORCH_LIBRARY; the functions of a
module are what the C++ beside it defines. Nothing is compiled or run.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_EXTENSIONS = re.compile(r"Extension$|_ext$")
"""What calls that declare an extension are named: CUDAExtension, make_cuda_ext."""
_MODULE = re.compile(r"\bPYBIND11_MODULE\s*\(\s*(\w+)\s*,")
_LIBRARY = re.compile(r"\bTORCH_LIBRARY(?:_FRAGMENT)?\s*\(\s*(\w+)\s*,")
_FUNCTION = re.compile(r"""\bm\.def\s*\(\s*"(\w+)[^"]*"\s*,\s*&?\s*([\w:]+)""")
_BY_BUILD = "TORCH_EXTENSION_NAME"
_SOURCES = (".cpp", ".cc", ".cu", ".cxx", ".h", ".cuh", ".hpp")
_NO_RESULT = ("void", "int", "int64_t", "bool", "float", "size_t")
_LONGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Function:
    """A function that an extension module gives to Python.

    Attributes:
        returns_tensors: whether its C++ returns them; None where its C++ was not found.
        place: file and line of its definition, relative to the repository.
    """

    name: str
    returns_tensors: bool | None
    place: str


@dataclass(slots=True)
class Extensions:
    """What a repository would compile; files are read when they are asked for.

    Args:
        root: the repository.
    """

    root: Path
    _functions: dict[Path, dict[str, Function]] = field(default_factory=dict)

    def folder_of(self, name: str, folders: list[Path]) -> Path | None:
        """Where the sources of a module are, None where nothing here would compile it.

        Args:
            name: of the module, without its packages.
            folders: of the package that it is imported from; empty for a module on its own.
        """
        for file, declared in self.declared:
            if declared.rpartition(".")[2] == name:
                within = [folder for folder in folders if folder.is_dir()]
                return within[0] if within else self._sources_of(name, file.parent)
        return None

    def functions(self, folder: Path) -> dict[str, Function]:
        """Find what the C++ in a folder gives to Python, by name."""
        found = self._functions.get(folder)
        if found is None:
            found = self._functions[folder] = dict(self._read(folder))
        return found

    @property
    def declared(self) -> tuple[tuple[Path, str], ...]:
        """The file that declares it, and the name, of each module."""
        return _declared(self.root)

    def libraries(self) -> dict[str, Path]:
        """Find the folders of what is registered with TORCH_LIBRARY, by namespace."""
        return {
            name: file.parent
            for file in _files(self.root)
            for name in _LIBRARY.findall(_text(file))
        }

    def _sources_of(self, name: str, folder: Path) -> Path:
        """Find the folder whose C++ names the module itself, else the one of its setup.py."""
        for file in _files(folder):
            if name in _MODULE.findall(_text(file)):
                return file.parent
        return folder

    def _read(self, folder: Path) -> Iterator[tuple[str, Function]]:
        texts = {file: _text(file) for file in _files(folder)}
        for text in texts.values():
            for name, function in _FUNCTION.findall(text):
                returns, place = self._definition(function.rpartition(":")[2], texts)
                yield name, Function(name, returns, place)

    def _definition(self, function: str, texts: dict[Path, str]) -> tuple[bool | None, str]:
        signature = re.compile(
            rf"^[ \t]*((?:[\w:]+(?:<[^;{{}}]*?>)?[&*\s]+)+){function}\s*\(", re.MULTILINE
        )
        for file, text in texts.items():
            found = signature.search(text)
            if found and not found[1].strip().startswith(("return", "else", "new")):
                line = text.count("\n", 0, found.start(1)) + 1
                kind = found[1].split()
                plain = any(word in _NO_RESULT for word in kind)
                own = file.is_relative_to(self.root)
                return not plain, f"{file.relative_to(self.root) if own else file}:{line}"
        return None, ""


_known: dict[Path, tuple[tuple[Path, str], ...]] = {}


def _declared(root: Path) -> tuple[tuple[Path, str], ...]:
    if root not in _known:
        _known[root] = (*_of_setups(root), *_of_modules(root))
    return _known[root]


def _of_setups(root: Path) -> Iterator[tuple[Path, str]]:
    for file in sorted(root.rglob("setup.py")):
        try:
            tree = ast.parse(_text(file))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _EXTENSIONS.search(_called(node)):
                name = _named(node)
                if name is not None:
                    yield file, name


def _of_modules(root: Path) -> Iterator[tuple[Path, str]]:
    for file in _files(root):
        for name in _MODULE.findall(_text(file)):
            if name != _BY_BUILD:
                yield file, name


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _named(call: ast.Call) -> str | None:
    candidates = [word.value for word in call.keywords if word.arg == "name"] + call.args[:1]
    for value in candidates:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix in _SOURCES and file.is_file())


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _LONGEST_FILE:
            return ""
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
