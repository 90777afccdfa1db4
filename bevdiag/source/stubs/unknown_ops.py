"""Compiled operations that bevdiag has no definition of its own for.

What one allocates is read from its C++ (see cpp_functions.py); the values that its kernels fill
in are not known. One whose C++ cannot be followed is taken to fill what it is given, as most
wrappers do, and the report says so; if it returns tensors, the trace stops with its name and place.

Which extension modules a repository would compile is read from its sources: names come from its
setup.py files and from PYBIND11_MODULE, and the functions of a module are what the C++ beside it
defines. Nothing is compiled or run.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bevdiag.errors import NoVerdictError
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.state import note, running
from bevdiag.source.stubs.compiled import array, lose_values
from bevdiag.source.stubs.cpp_functions import UnreadableError, follow
from bevdiag.source.stubs.cpp_text import definitions, without_comments
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.operands import as_meta, unrecorded
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
        cpp_name: its name in C++.
        reads: places of the tensors that its C++ declares to be constant.
        texts: the C++ of its module, by file, without comments.
    """

    name: str
    returns_tensors: bool | None
    place: str
    cpp_name: str = ""
    reads: frozenset[int] = frozenset()
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)


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


def unknown_op(module: str, function: Function) -> Callable[..., Any]:
    """Return what is called in place of a function whose kernel is not known."""

    def op(*args: Any, **kwargs: Any) -> Any:
        caller = user_place()
        where = f" (defined in {function.place})" if function.place else ""
        named = f"{caller}: {module}.{function.name}{where}"
        trace = running()
        if trace is None or not isinstance(trace.values, AssumedValues):
            raise NoVerdictError(f"{named} has no values on the CPU")
        written = [*args, *kwargs.values()]
        try:
            result = _followed(function, args, kwargs)
        except UnreadableError as error:
            if function.returns_tensors:
                raise stopped(
                    f"{module}.{function.name}{where} is a compiled operation that bevdiag does "
                    f"not know, and what it returns could not be read from its C++: {error}",
                    Remedy.KERNEL,
                    caller,
                ) from None
            result = 1
            note(
                f"{named} is a compiled operation that bevdiag does not know: it is taken to fill "
                "the tensors that it is given and to allocate nothing"
            )
        else:
            written = [value for place, value in enumerate(args) if place not in function.reads]
            note(
                f"{named} is a compiled operation that bevdiag does not know: what it allocates "
                "was read from its C++"
            )
        tensors = [value for value in written if isinstance(value, Tensor)]
        trace.values.overwritten(tensors)
        of_features = any(tensor.is_meta for tensor in tensors)
        # One value throughout is what a wrapper fills an output with before the call.
        lose_values(tensor for tensor in tensors if _is_uniform(tensor))
        if tensors and not (of_features and all(tensor.is_meta for tensor in tensors)):
            trace.values.leave_open(
                f"{named}: what it writes is not known, so counts that depend on it are not"
            )
        return result

    op.__name__ = function.name
    return op


def _followed(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Follow its C++ on tensors without values; what it returns unchanged is what it was given."""
    if kwargs or not function.texts:
        raise UnreadableError("it is not there" if not function.texts else "it takes names")
    given = [
        unrecorded(as_meta, value) if isinstance(value, Tensor) and not value.is_meta else value
        for value in args
    ]
    with torch.no_grad():
        result = follow(function.cpp_name, function.texts, tuple(given))
    originals = {id(meta): value for meta, value in zip(given, args, strict=True)}
    made = result if isinstance(result, list) else [result]
    if not all(isinstance(value, Tensor) for value in made):
        if function.returns_tensors:
            raise UnreadableError("what it returns is not followed")
        return 1
    returned = [originals.get(id(value), value) for value in made]
    return returned if isinstance(result, list) else returned[0]


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
    texts = {_shown(root, file): without_comments(_text(file)) for file in _files(folder)}
    return {
        name: _function(name, cpp_name.rpartition(":")[2], texts)
        for text in texts.values()
        for name, cpp_name in _FUNCTION.findall(text)
    }


def _sources_of(name: str, folder: Path) -> Path:
    """Find the folder whose C++ names the module itself, else the one of its setup.py."""
    for file in _files(folder):
        if name in _MODULE.findall(_text(file)):
            return file.parent
    return folder


def _function(name: str, cpp_name: str, texts: Mapping[str, str]) -> Function:
    found = definitions(cpp_name, texts)
    if not found:
        return Function(name, None, "")
    plain = any(word in _NO_RESULT for word in found[0].returns.split())
    constant = re.compile(r"const\b.*\bTensor\b")
    reads = {n for n, one in enumerate(found[0].parameters) if constant.match(one.type)}
    return Function(name, not plain, found[0].place, cpp_name, frozenset(reads), texts)


def _shown(root: Path, file: Path) -> str:
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


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
