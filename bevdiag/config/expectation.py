"""What a settings type expects at a place, in words for an error message."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

_ONE = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_MANY = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts"}


def type_at(settings: type[BaseModel], keys: Sequence[str | int]) -> Any:
    """Return the type of the value that pydantic's error location `keys` leads to."""
    here: Any = settings
    for key in keys:
        here = _below(_bare(here), key)
    return _bare(here)


def in_words(annotation: Any) -> str:
    """Say what is expected, as in "expected ..."."""
    kind = _bare(annotation)
    if get_origin(kind) is Literal:
        return " or ".join(repr(value) for value in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list of {_entries(kind)}"
    return _ONE.get(kind, "a mapping of keys to values")


def _entries(kind: Any) -> str:
    entries = get_args(kind)
    count = "" if Ellipsis in entries else f"{len(entries)} "
    entry = _bare(entries[0])
    if get_origin(entry) is tuple:
        return f"{count}lists of {_entries(entry)}"
    if get_origin(entry) is Literal:
        return f"{count}entries that are {in_words(entry)}"
    return count + _MANY.get(entry, "mappings")


def _bare(annotation: Any) -> Any:
    """Return the type without `Annotated` and without "or None"."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    members = [member for member in get_args(annotation) if member is not type(None)]
    if type(None) in get_args(annotation) and len(members) == 1:
        return _bare(members[0])
    return annotation


def _below(kind: Any, key: str | int) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        return next(f.annotation for name, f in fields.items() if key in (f.alias, name))
    entries = get_args(kind)
    if isinstance(key, int):
        return entries[0 if Ellipsis in entries else min(key, len(entries) - 1)]
    if get_origin(kind) is dict:
        return entries[1]
    # A union of modules: pydantic's location names the chosen one by its NAME.
    return next(m for m in entries if key in get_args(m.model_fields["name"].annotation))
