"""A config as a tree of values that know where they stand: immutable, edited by making a new tree.

A path into the tree is a tuple of keys. An entry of a list is named by its index, or by its NAME
where the entries are modules, as in ``("DATA_CONFIG", "DATA_PROCESSOR", "shuffle_points")``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bevdiag.errors import ConfigError, Location

Path = tuple[str, ...]
Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value."""

    value: Plain
    location: Location


@dataclass(frozen=True, slots=True)
class Listing:
    """A YAML sequence."""

    items: tuple["Node", ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Section:
    """A YAML mapping; `keys` says where each key stands, as far as it was read from a text."""

    entries: Mapping[str, "Node"]
    location: Location
    keys: Mapping[str, Location] = field(default_factory=dict, compare=False)


Node = Scalar | Listing | Section


def dotted(path: Sequence[str]) -> str:
    """Write the path as messages and ``--set`` do: ``MODEL.VFE.NAME``."""
    return ".".join(path)


def child(node: Node, key: str) -> Node | None:
    """Return the entry of a section or list that `key` names, or None."""
    if isinstance(node, Section):
        return node.entries.get(key)
    if isinstance(node, Listing):
        index = entry_index(node, key)
        return None if index is None else node.items[index]
    return None


def entry_index(listing: Listing, key: str) -> int | None:
    """Return the index that `key` names in a list: its decimal digits or the NAME of an entry."""
    if key.isdecimal() and key.isascii():
        index = int(key[:9])
        return index if index < len(listing.items) else None
    for index, item in enumerate(listing.items):
        name = child(item, "NAME") if isinstance(item, Section) else None
        if isinstance(name, Scalar) and name.value == key:
            return index
    return None


def find(root: Node, path: Sequence[str]) -> Node | None:
    """Return the node at `path`, or None."""
    node, rest = descend(root, path)
    return None if rest else node


def descend(root: Node, path: Sequence[str]) -> tuple[Node, tuple[str, ...]]:
    """Return the deepest node on the way to `path` that exists, and the keys that are left."""
    node = root
    for depth, key in enumerate(path):
        below = child(node, key)
        if below is None:
            return node, tuple(path[depth:])
        node = below
    return node, ()


def error_at(root: Node, path: Sequence[str], message: str) -> ConfigError:
    """Return the error about what stands at `path`, or is missing in the section above it."""
    return ConfigError(message, location=descend(root, path)[0].location, key=dotted(path))


def key_location(root: Section, path: Sequence[str]) -> Location:
    """Where the key at `path` stands, or the nearest key above it if it is not written.

    An entry of a list, and a value that came from elsewhere than its key, stand for themselves.
    """
    node: Node = root
    found = root.location
    for key in path:
        below = child(node, key)
        if below is None:
            return found
        written = node.keys.get(key) if isinstance(node, Section) else None
        is_here = written is not None and written.file == below.location.file
        found = written if written is not None and is_here else below.location
        node = below
    return found


def extent(node: Node) -> tuple[int, int]:
    """Count a node's values and keys, itself included, and the levels that it nests."""
    if isinstance(node, Scalar):
        return 1, 0
    keys = len(node.entries) if isinstance(node, Section) else 0
    below = node.entries.values() if isinstance(node, Section) else node.items
    extents = [extent(inner) for inner in below]
    return 1 + keys + sum(num for num, _ in extents), 1 + max((d for _, d in extents), default=0)


def plain(node: Node) -> object:
    """Return the values alone: dicts, tuples for lists, and scalars."""
    if isinstance(node, Section):
        return {key: plain(value) for key, value in node.entries.items()}
    if isinstance(node, Listing):
        return tuple(plain(item) for item in node.items)
    return node.value


def located(value: object, location: Location) -> Node:
    """Put every value at the one `location`: the opposite of `plain`.

    Raises:
        TypeError: for a value that YAML has no plain form for.
    """
    if isinstance(value, Mapping):
        entries = {str(key): located(item, location) for key, item in value.items()}
        return Section(entries, location)
    if isinstance(value, list | tuple):
        return Listing(tuple(located(item, location) for item in value), location)
    if value is None or isinstance(value, str | int | float | bool):
        return Scalar(value, location)
    raise TypeError(f"a config cannot hold a {type(value).__name__}")


def describe(node: Node) -> str:
    """Say what was found, for a message."""
    if isinstance(node, Section):
        return "a mapping"
    if isinstance(node, Listing):
        return f"a list of {len(node.items)}"
    if isinstance(node.value, str):
        return f"the text {shortened(node.value)!r}"
    if node.value is None:
        return "nothing (null)"
    return str(node.value).lower() if isinstance(node.value, bool) else str(node.value)


def shortened(text: str) -> str:
    """Cut the text with three dots where it is longer than 60 characters."""
    return text if len(text) <= 60 else text[:57] + "..."


def with_node(root: Section, path: Path, node: Node | None) -> Section:
    """Return a copy of the tree with `node` at `path`; sections missing on the way are made.

    None removes what is there.

    Raises:
        KeyError: where the way leads through a value, or to an entry that a list does not have.
    """
    placed = _placed(root, path, node)
    assert isinstance(placed, Section)
    return placed


def without(root: Section, path: Path) -> Section:
    """Return a copy of the tree without what is at `path`; the tree itself if nothing is there."""
    return root if find(root, path) is None else with_node(root, path, None)


def _placed(node: Node, path: Path, new: Node | None) -> Node:
    key, rest = path[0], path[1:]
    if isinstance(node, Section):
        entries = dict(node.entries)
        if rest:
            below = entries.get(key, Section({}, node.location))
            entries[key] = _placed(below, rest, new)
        elif new is None:
            del entries[key]
        else:
            entries[key] = new
        return Section(entries, node.location, node.keys)
    if isinstance(node, Listing) and (index := entry_index(node, key)) is not None:
        before, after = node.items[:index], node.items[index + 1 :]
        if rest:
            middle: tuple[Node, ...] = (_placed(node.items[index], rest, new),)
        else:
            middle = () if new is None else (new,)
        return Listing(before + middle + after, node.location)
    raise KeyError(key)
