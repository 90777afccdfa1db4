"""Keep torch.compile's machinery out of a process that never compiles.

Many of PyTorch's Python functions, shape functions and optimizers among them, are wrapped so that
torch._dynamo leaves them alone; on their first call each wrapper imports torch._dynamo to say so.
That import takes as long as importing torch itself. The shape functions also look for symbolic
sizes at every turn, and import sympy for it: another quarter of it, where every size is a number.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch

from bevdiag.errors import NoVerdictError

_STANCE = "fail_on_recompile"
_SHAPES = "torch.fx.experimental.symbolic_shapes"
_PLAIN = (bool, int, float)
_GUARDS = (
    "guard_or_true", "guard_or_false", "guard_size_oblivious", "guard_int", "expect_true",
    "statically_known_true", "guarding_hint_or_throw",
)  # fmt: skip
"""What gives back a number as it is."""


class _Unneeded(ModuleType):
    """Answers the wrappers; hands over to the real module as soon as anything else is asked."""

    def __init__(self, name: str, answers: Mapping[str, Any]) -> None:
        super().__init__(name)
        # A package: what imports a part of it gets the real one's, see `_Parts`.
        self.__path__ = []
        self._answers = answers
        self.__dict__.update(answers)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> ModuleType:
        """Return the module itself, which is imported with all that it imports.

        No stub of what it builds upon is left: it derives classes from what it finds there.
        """
        names = list(_ANSWERS)
        for name in names[names.index(self.__name__) :]:
            stub = sys.modules.get(name)
            if isinstance(stub, _Unneeded):
                stub.remove()
        return importlib.import_module(self.__name__)

    def put(self) -> None:
        """Stand where the module is looked for."""
        parent, _, name = self.__name__.rpartition(".")
        sys.modules[self.__name__] = self
        if parent in sys.modules:
            setattr(sys.modules[parent], name, self)

    def remove(self) -> None:
        """Stand there no longer, and know nothing."""
        parent, _, name = self.__name__.rpartition(".")
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        if vars(sys.modules.get(parent, self)).get(name) is self:
            delattr(sys.modules[parent], name)
        for answer in self._answers:
            self.__dict__.pop(answer, None)


def _where_plain(name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of symbolic_shapes that knows the answer for numbers."""

    def answered(*args: Any) -> Any:
        if all(type(number) in _PLAIN for arg in args for number in _numbers(arg)):
            return answer(*args)
        found = importlib.import_module(_SHAPES)
        real = found.real() if isinstance(found, _Unneeded) else found
        return getattr(real, name)(*args)

    return answered


def _numbers(value: Any) -> tuple[Any, ...]:
    """Return a number, those of a shape, or all that lay out a tensor."""
    if isinstance(value, torch.Tensor):
        return (*value.shape, *value.stride(), value.storage_offset())
    return tuple(value) if isinstance(value, tuple | list) else (value,)


_SIZES: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(_GUARDS, lambda value: value),
    "has_guarding_hint": lambda _: True,
    "is_nested_int": lambda _: False,
    "sym_and": lambda *flags: all(flags),
    "sym_or": lambda *flags: any(flags),
    "sym_eq": lambda one, other: _numbers(one) == _numbers(other),
    "free_unbacked_symbols": lambda _: set(),
}
_ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "torch._dynamo": {"disable": lambda fn, *_, **__: fn, "graph_break": lambda *_: None},
    _SHAPES: {name: _where_plain(name, answer) for name, answer in _SIZES.items()},
    # What nobody has made an instance of while it is not imported.
    "sympy": {"Basic": type("Basic", (), {})},
}
"""What is answered instead of each module; each builds upon those after it."""


class _Parts(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `torch._dynamo.utils` and its like while a stub stands for their package.

    Libraries import them by themselves, torchvision among them.
    """

    def __init__(self, stub: _Unneeded) -> None:
        self._stub = stub
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a part of the real package, which is imported with all that it imports."""
        whole = self._stub.__name__
        if sys.modules.get(whole) is not self._stub or not name.startswith(f"{whole}."):
            return None
        self._stub.real()
        importlib.import_module(name)
        return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the part that is there already; a second one would have a state of its own."""
        part = sys.modules[spec.name]
        self._specs[spec.name] = part.__spec__
        return part

    def exec_module(self, module: ModuleType) -> None:
        """Restore its own spec: it has run."""
        assert module.__spec__ is not None
        module.__spec__ = self._specs[module.__spec__.name]


@contextmanager
def without_compiler() -> Iterator[None]:
    """Inside, torch._dynamo and sympy are not imported unless something really needs them.

    Raises:
        NoVerdictError: compiled code is called. It would run unseen, or be compiled together with
            what records it.
    """
    with ExitStack() as stack:
        set_stance = getattr(torch.compiler, "set_stance", None)  # not before torch 2.6
        loaded = sys.modules.get("torch._dynamo")
        if set_stance and loaded is not None and not isinstance(loaded, _Unneeded):
            stack.enter_context(_compiled_refused(set_stance))
        for name, answers in _ANSWERS.items():
            if name not in sys.modules:
                stack.enter_context(_replaced(_Unneeded(name, answers)))
        yield


@contextmanager
def _compiled_refused(
    set_stance: Callable[[str], AbstractContextManager[object]],
) -> Iterator[None]:
    try:
        with set_stance(_STANCE):
            yield
    except RuntimeError as error:
        if _STANCE not in str(error):
            raise
        raise NoVerdictError(
            "the step calls what torch.compile made, whose memory is not that of the code that it "
            "was made from: predict it uncompiled, with TORCHDYNAMO_DISABLE=1 in the environment"
        ) from error


@contextmanager
def _replaced(stub: _Unneeded) -> Iterator[None]:
    stub.put()
    parts = _Parts(stub)
    sys.meta_path.insert(0, parts)
    try:
        yield
    finally:
        sys.meta_path.remove(parts)
        stub.remove()
