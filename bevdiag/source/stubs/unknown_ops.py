"""Compiled operations that bevdiag has no definition of its own for.

Most wrappers allocate what a kernel fills: such a function allocates nothing, so the memory is
known and only the values are not. One that returns tensors allocates them itself, and stops the
trace with its name and place.

Which extension modules a repository would compile is read from its sources: names come from its
setup.py files and from PYBIND11_MODULE, and the functions of a module are what the C++ beside it
defines. Nothing is compiled or run.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from bevdiag.errors import NoVerdictError
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.state import note, running
from bevdiag.source.stubs.compiled import array, lose_values
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.places import user_place

_EXTENSIONS = re.compile(r"Extension$|_ext$")
"""What calls that declare an extension are named: CUDAExtension, make_cuda_ext."""
_MODULE = re.compile(r"\bPYBIND11_MODULE\s*\(\s*(\w+)\s*,")
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


class TritonKernel:
    """A Triton kernel: `kernel[grid](...)` fills the tensors that it is given."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", "kernel")

    def __getitem__(self, grid: Any) -> Callable[..., int]:
        module = getattr(self._function, "__module__", "")
        return unknown_op(module, Function(self.__name__, False, ""))

    def run(self, *args: Any, **kwargs: Any) -> int:
        """Run, as older code calls it."""
        return self[None](*args, **kwargs)


def _is_uniform(tensor: Tensor) -> bool:
    if tensor.is_meta or not tensor.numel():
        return False
    values = array(tensor)
    return bool((values == values.flat[0]).all())


def unknown_op(module: str, function: Function) -> Callable[..., int]:
    """Return what is called in place of a function whose kernel is not known."""

    def fills_what_it_is_given(*args: Any, **kwargs: Any) -> int:
        caller = user_place()
        where = f" (defined in {function.place})" if function.place else ""
        named = f"{caller}: {module}.{function.name}{where}"
        if function.returns_tensors:
            raise stopped(
                f"{module}.{function.name}{where} is a compiled operation that bevdiag does not "
                "know, and it returns tensors whose sizes only its kernel knows",
                Remedy.KERNEL,
                caller,
            )
        trace = running()
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if trace is not None and isinstance(trace.values, AssumedValues):
            trace.values.overwritten(tensors)
            note(
                f"{named} is a compiled operation that bevdiag does not know: it fills the "
                "tensors that it is given and allocates nothing"
            )
            if any(tensor.is_meta for tensor in tensors):
                # One value throughout is what a wrapper fills an output with before the call.
                lose_values(tensor for tensor in tensors if _is_uniform(tensor))
            if not all(tensor.is_meta for tensor in tensors):
                trace.values.leave_open(
                    f"{named}: what it writes is not known, so counts that depend on it are not"
                )
            return 1
        raise NoVerdictError(f"{named} has no values on the CPU")

    fills_what_it_is_given.__name__ = function.name
    return fills_what_it_is_given


def folder_of(root: Path, name: str, folders: list[Path]) -> Path | None:
    """Where the sources of a module are, None where nothing here would compile it.

    Args:
        root: the repository.
        name: of the module, without its packages.
        folders: of the package that it is imported from; empty for a module on its own.
    """
    for file, declared in _declared(root):
        if declared.rpartition(".")[2] == name:
            within = [folder for folder in folders if folder.is_dir()]
            return within[0] if within else _sources_of(name, file.parent)
    return None


@cache
def functions_in(root: Path, folder: Path) -> dict[str, Function]:
    """Find what the C++ in a folder of a repository gives to Python, by name."""
    texts = {file: _text(file) for file in _files(folder)}
    return {
        name: Function(name, *_definition(root, function.rpartition(":")[2], texts))
        for text in texts.values()
        for name, function in _FUNCTION.findall(text)
    }


def _sources_of(name: str, folder: Path) -> Path:
    """Find the folder whose C++ names the module itself, else the one of its setup.py."""
    for file in _files(folder):
        if name in _MODULE.findall(_text(file)):
            return file.parent
    return folder


def _definition(root: Path, function: str, texts: dict[Path, str]) -> tuple[bool | None, str]:
    signature = re.compile(
        rf"^[ \t]*((?:[\w:]+(?:<[^;{{}}]*?>)?[&*\s]+)+){function}\s*\(", re.MULTILINE
    )
    for file, text in texts.items():
        found = signature.search(text)
        if found and not found[1].strip().startswith(("return", "else", "new")):
            line = text.count("\n", 0, found.start(1)) + 1
            plain = any(word in _NO_RESULT for word in found[1].split())
            shown = file.relative_to(root) if file.is_relative_to(root) else file
            return not plain, f"{shown}:{line}"
    return None, ""


@cache
def _declared(root: Path) -> tuple[tuple[Path, str], ...]:
    """Find the file that declares it, and the name, of each module."""
    return (*_of_setups(root), *_of_modules(root))


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
