"""What settings are made of, and sections of a config checked against them.

Text is never taken for a number, nor a boolean for a size: the originals would stumble over it.
Pydantic's errors come in the config's own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from bevdiag.config import tree
from bevdiag.config.grid import MAX_VOXELS
from bevdiag.config.nearest import did_you_mean, nearest_names
from bevdiag.config.tree import Listing, Node, Section, describe
from bevdiag.errors import ConfigError

PositiveInt = Annotated[int, Field(strict=True, gt=0, lt=2**31)]
NonNegativeInt = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
AxisInt = Annotated[int, Field(strict=True, gt=0, le=MAX_VOXELS)]
"""For what lies along an axis of the grid, or is as many: a table is made of it."""
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
WholeInt = Annotated[int, Field(strict=True, gt=-(2**31), lt=2**31)]
Shift = tuple[WholeInt, WholeInt, WholeInt]
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-(2**24), le=2**24)]
"""In metres or radians, as a float32, which further out cannot tell one from the next."""
Lengths = tuple[Coordinate, Coordinate, Coordinate]
Range = tuple[Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate]


class LowerCaseSettings(BaseModel):
    """Settings are immutable; keys bevdiag does not know are kept aside, not refused."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Settings(LowerCaseSettings):
    """For sections whose keys are upper-case in the dialect, as most are."""

    model_config = ConfigDict(alias_generator=str.upper)


def blame(key: str, problem: str) -> PydanticCustomError:
    """Return the error of a check across fields.

    Args:
        key: the key to fix, below the section whose validator raises this.
        problem: what is wrong and what is expected.
    """
    return PydanticCustomError("blame", "{problem}", {"key": key, "problem": problem})


MAX_SHOWN = 10
"""How many problems one message lists."""

SettingsType = TypeVar("SettingsType", bound=BaseModel)
_Problem = tuple[tree.Path, str]
"""Where something is wrong, and what."""

_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("of at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("of at most", "le"),
}


def checked(settings: type[SettingsType], root: Section, path: tree.Path) -> SettingsType:
    """Read the section at `path` as settings; an empty one where it is not written.

    Raises:
        ConfigError: lists every problem, one a line, the first with its location and key.
    """
    node = tree.find(root, path)
    if node is not None and not isinstance(node, Section):
        message = f"expected a mapping of keys to values, found {describe(node)}"
        raise tree.error_at(root, path, message)
    values = {} if node is None else tree.plain(node)
    try:
        # Only the dialect's own spelling of a key counts, not bevdiag's lower-case field names.
        return settings.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        translator = _Translator(settings, root, path)
        problems = [translator.problem(details) for details in _distinct(error)]
        raise _combined(root, problems) from error


def _combined(root: Section, problems: Sequence[_Problem]) -> ConfigError:
    """One error for several problems: the first, then the others, one a line."""
    (path, message), *others = problems
    lines = [message, *(str(tree.error_at(root, *other)) for other in others[: MAX_SHOWN - 1])]
    if len(problems) > MAX_SHOWN:
        lines.append(f"... and {len(problems) - MAX_SHOWN} more")
    return tree.error_at(root, path, "\n".join(lines))


def _distinct(error: ValidationError) -> list[Any]:
    """Return the errors, without those that repeat or follow from another one.

    A problem that all entries of a list have is reported for the first; and pydantic calls a list
    too short when entries of it are wrong.
    """
    every = error.errors(include_url=False)
    faulty = {details["loc"][:-1] for details in every}
    distinct: dict[object, Any] = {}
    for details in every:
        keys = details["loc"]
        if details["type"] == "too_short" and keys in faulty:
            continue
        group = (keys[:-1], details["type"]) if keys and isinstance(keys[-1], int) else keys
        distinct.setdefault(group, details)
    return list(distinct.values())


@dataclass(frozen=True, slots=True)
class _Translator:
    _settings: type[BaseModel]
    _root: Section
    _path: tree.Path

    def problem(self, details: Any) -> _Problem:
        keys: tuple[str | int, ...] = details["loc"]
        kind: str = details["type"]
        if kind == "blame":
            path = (*self._written(keys), *details["ctx"]["key"].split("."))
            return path, details["ctx"]["problem"]
        if kind == "missing" and isinstance(keys[-1], str):
            return self._missing(keys)
        if kind == "missing":
            # A list of fixed length that is too short lacks entries, as pydantic sees it.
            keys = keys[:-1]
        # A value may stand for the mapping that the settings make of it.
        path = self._written(keys)
        found, rest = tree.descend(self._root, path)
        path = path[: len(path) - len(rest)]
        expected = self._expected(keys, kind, details.get("ctx", {}))
        hint = ""
        if kind == "literal_error" and isinstance(found, tree.Scalar):
            hint = did_you_mean(str(found.value), details["ctx"]["expected"].split("'")[1::2])
        return path, f"expected {expected}, found {describe(found)}{hint}"

    def _missing(self, keys: tuple[str | int, ...]) -> _Problem:
        path = self._written(keys)
        section = tree.descend(self._root, path[:-1])[0]
        written = list(section.entries) if isinstance(section, Section) else []
        expected = in_words(type_at(self._settings, keys))
        near = nearest_names(path[-1], written, 1)
        hint = f"; {near[0]!r} stands there: write {path[-1]}" if near else ""
        return path, f"is missing: expected {expected}{hint}"

    def _expected(self, keys: tuple[str | int, ...], kind: str, context: Any) -> str:
        words = in_words(type_at(self._settings, keys))
        if kind in _BOUNDS:
            relation, key = _BOUNDS[kind]
            return f"{words} {relation} {context[key]}"
        if kind == "finite_number":
            return f"{words} that is finite"
        if kind == "too_short":
            return f"{words}, at least {context['min_length']}"
        return words

    def _written(self, keys: tuple[str | int, ...]) -> tree.Path:
        """Return the path in the config; pydantic's has a NAME where it chose between modules."""
        path, node = list(self._path), tree.find(self._root, self._path)
        for key in map(str, keys):
            below = None if node is None else tree.child(node, key)
            if below is None and node is not None and _is_name_of(key, node):
                continue
            path.append(key)
            node = below
        return tuple(path)


def _is_name_of(key: str, node: Node) -> bool:
    if isinstance(node, Listing):
        return False
    name = tree.child(node, "NAME")
    return isinstance(name, tree.Scalar) and name.value == key


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
