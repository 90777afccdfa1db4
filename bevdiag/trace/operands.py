"""An operation's tensors: finding them, noting facts of them, bringing real and meta together."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch.utils._python_dispatch import _disable_current_modes


def tensors_in(args: Iterable[Any], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    """Return the tensors among an operation's arguments, which nest one level deep."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, torch.Tensor):
                    yield item


def given_arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the operation's arguments by name, defaults too."""
    found = {}
    for position, argument in enumerate(func._schema.arguments):
        value = args[position] if position < len(args) else kwargs.get(argument.name)
        found[argument.name] = argument.default_value if value is None else value
    return found


@cache
def written_arguments(func: Any) -> tuple[tuple[int, str], ...]:
    """Return place and name of each argument that an operation writes into."""
    return tuple(
        (place, argument.name)
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def written_by(func: Any, args: tuple[Any, ...], outputs: Any) -> list[torch.Tensor]:
    """Return the tensors that an operation wrote into, those given as `out=` among its outputs."""
    if not func._schema.is_mutable:
        return []
    named = [args[place] for place, _ in written_arguments(func) if place < len(args)]
    return list(tensors_in(named or [outputs], {}))


def stored_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Return the tensors among `values` that have storage: of a sparse one, its parts."""
    for tensor in tensors_in(values, {}):
        if tensor.layout is torch.strided:
            yield tensor
        elif tensor.layout is torch.sparse_coo and not tensor.is_meta:
            yield tensor._indices()
            yield tensor._values()


def as_meta(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same shape, strides and type without the values; the stub is no allocation."""
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta")


def unrecorded(make: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
    """Return what `make` makes where no mode looks: for code that runs above the dispatch."""
    with _disable_current_modes():
        return make(*args, **kwargs)


def all_meta(value: Any) -> Any:
    """Return the value with every real tensor in it replaced by a meta one."""
    if isinstance(value, torch.Tensor):
        # A 0-dim host tensor is a scalar argument to a GPU kernel, not a tensor on the GPU.
        return value if value.is_meta or value.dim() == 0 else as_meta(value)
    if isinstance(value, (list, tuple)):
        return type(value)(all_meta(item) for item in value)
    return value


Note = TypeVar("Note")


class StorageNotes(Generic[Note]):
    """Notes on tensors by their storages, so a view's are those of what it looks at.

    A note goes with its storage.
    """

    def __init__(self) -> None:
        self._notes: dict[int, Note] = {}
        self._refs: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __len__(self) -> int:
        return len(self._notes)

    def of(self, tensor: torch.Tensor) -> Note | None:
        """Return the note on the tensor, None without one."""
        if tensor.layout is not torch.strided:
            return None  # it has no memory of its own
        return self._notes.get(tensor.untyped_storage()._cdata)

    def keep(self, tensor: torch.Tensor, note: Note) -> None:
        """Note something, in place of what was noted before."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        self._notes[key] = note
        if key not in self._refs:

            def forget(_: object) -> None:
                self._notes.pop(key, None)
                del self._refs[key]

            self._refs[key] = weakref.ref(storage, forget)

    def drop(self, tensor: torch.Tensor) -> None:
        """Forget the note on the tensor, if there is one."""
        if self._notes:
            self._notes.pop(tensor.untyped_storage()._cdata, None)
