"""Changes to a config as edits of its text: what they do not touch keeps every byte.

A comment with a figure beside a value that is replaced goes too: it would say what no longer holds.

A value that stands in the file is replaced where it stands; a key that does not is written below
the last of its section. What a `_BASE_CONFIG_` brought in is overridden in the file that names the
base, never in the base. A list of a base cannot be overridden in part, so the file gets all of it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bevdiag.config import tree
from bevdiag.config.bases import BASE_KEY
from bevdiag.config.document import Document
from bevdiag.config.tree import Listing
from bevdiag.config.yaml_tree import TreeBuilder, with_dot
from bevdiag.errors import ConfigError, Location


@dataclass(slots=True, kw_only=True)
class Spot:
    """A value's stretch of the text, in characters; what follows its last word is not part of it.

    Attributes:
        start: of the value; `end` is behind its last character.
        column: where it starts in its line.
        is_mapping: whether it has keys.
        is_flow: whether it is written in brackets, or on one line as a scalar.
        is_shared: whether it is an alias or has an anchor, so that it stands for other places too.
        value: the text of a scalar.
        entries: by key, for a mapping.
        items: of a list.
    """

    start: int
    end: int
    column: int
    is_mapping: bool = False
    is_flow: bool = True
    is_shared: bool = False
    value: str | None = None
    entries: dict[str, "Entry"] = field(default_factory=dict)
    items: list["Spot"] = field(default_factory=list)

    def child(self, key: str) -> "Spot | None":
        """Return the part that `key` names: a key, an index, or the NAME of a list's entry."""
        if self.is_mapping:
            entry = self.entries.get(key)
            return None if entry is None else entry.value
        if key.isdecimal() and int(key) < len(self.items):
            return self.items[int(key)]
        for item in self.items:
            name = item.entries.get("NAME")
            if name is not None and name.value.value == key:
                return item
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping, from `start` to `end` and in `column`, and its value."""

    start: int
    end: int
    column: int
    value: Spot


def read_spans(text: str) -> Spot:
    """Read the spans of the one document in `text`, which is known to be a mapping.

    `TreeBuilder` has read it before, which refuses whatever is hostile or broken.
    """
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            break
    return _spot(next(events), events)


def _spot(event: yaml.Event, events: Iterator[yaml.Event]) -> Spot:
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None
    spot = Spot(start=start.index, end=end.index, column=start.column)
    if isinstance(event, yaml.AliasEvent):
        spot.is_shared = True
        return spot
    assert isinstance(event, yaml.NodeEvent)
    spot.is_shared = event.anchor is not None
    if isinstance(event, yaml.ScalarEvent):
        spot.value, spot.is_flow = event.value, event.style not in ("|", ">")
        return spot
    assert isinstance(event, yaml.CollectionStartEvent)
    spot.is_mapping = isinstance(event, yaml.MappingStartEvent)
    spot.is_flow = bool(event.flow_style)
    closing = _contents(spot, events)
    if spot.is_flow and closing.end_mark is not None:
        spot.end = closing.end_mark.index
    else:
        # The closing event of a block stands where the next block begins, comments between.
        below = [entry.value for entry in spot.entries.values()] + spot.items
        spot.end = max([spot.end, *(part.end for part in below)])
    return spot


def _contents(spot: Spot, events: Iterator[yaml.Event]) -> yaml.Event:
    """Read the parts of a mapping or list up to its closing event, and return that."""
    while not isinstance(event := next(events), yaml.CollectionEndEvent):
        if not spot.is_mapping:
            spot.items.append(_spot(event, events))
            continue
        key = _spot(event, events)
        entry = Entry(key.start, key.end, key.column, _spot(next(events), events))
        spot.entries[key.value or ""] = entry
    return event


Changes = Mapping[tree.Path, object]

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*", re.ASCII)
"""Text that needs no quotes anywhere, unless it is a word for something else, such as `yes`."""


_FIGURES = re.compile(r"[ \t]+#[^\r\n]*\d[^\r\n]*")
"""A comment with a number beside a value: it spoke of the old one, and goes with it."""


@dataclass(frozen=True, slots=True, order=True)
class _Splice:
    """`text` in place of the characters from `start` to `end`; at one place, deeper ones first."""

    start: int
    end: int
    outwards: int
    text: str


def edited_text(path: Path, text: str, document: Document, changes: Changes) -> str:
    """Return the text of the config file with every change written in.

    Args:
        path: of the file, for errors.
        text: of the file.
        document: what was read from it and its bases.
        changes: new value by path; one that is there already changes nothing.

    Raises:
        ConfigError: a value stands behind an anchor or alias, and so for other places too.
    """
    wanted = document.edited(changes)
    root = read_spans(text)
    splices: list[_Splice] = []
    missing: dict[int, tuple[Spot, dict[str, object]]] = {}
    newline = "\r\n" if "\r\n" in text else "\n"
    for key in changes:
        target = _own_target(root, document, key)
        value = wanted.get(tree.dotted(target))
        # 1, 1.0 and true are equal to Python but not to a config.
        if repr(document.get(tree.dotted(target))) == repr(value):
            continue
        spot, rest = _descend(root, target)
        if _is_shared(root, target) or (rest and not spot.is_mapping):
            raise _not_alone(path, text, target, spot)
        if rest:
            _, additions = missing.setdefault(id(spot), (spot, {}))
            _put(additions, rest, value)
        else:
            splices.append(_replacement(text, root, target, value))
    for spot, additions in missing.values():
        splices.append(_addition(text, spot, additions, newline))
    return _spliced(text, splices)


def _own_target(root: Spot, document: Document, path: tree.Path) -> tree.Path:
    """Return the path itself, or that of the base's list around it, which must be written whole."""
    _, rest = _descend(root, path)
    for depth in range(len(path) - len(rest), len(path)):
        node = tree.find(document.root, path[:depth])
        if isinstance(node, Listing) and _descend(root, path[:depth])[1]:
            return path[:depth]
    return path


def _descend(root: Spot, path: tree.Path) -> tuple[Spot, tree.Path]:
    spot = root
    for depth, key in enumerate(path):
        below = spot.child(key)
        if below is None:
            return spot, path[depth:]
        spot = below
    return spot, ()


def _is_shared(root: Spot, path: tree.Path) -> bool:
    return any(_descend(root, path[:depth])[0].is_shared for depth in range(len(path) + 1))


def _put(additions: dict[str, object], path: tree.Path, value: object) -> None:
    for key in path[:-1]:
        below = additions.setdefault(key, {})
        assert isinstance(below, dict)
        additions = below
    additions[path[-1]] = value


def _not_alone(path: Path, text: str, target: tree.Path, spot: Spot) -> ConfigError:
    line = text.count("\n", 0, spot.start) + 1
    return ConfigError(
        "this value has an anchor or is an alias, so a change would reach other places too: "
        "write it out to have it changed",
        location=Location(path, line, spot.column + 1),
        key=tree.dotted(target),
    )


def _replacement(text: str, root: Spot, path: tree.Path, value: object) -> _Splice:
    spot = _descend(root, path)[0]
    parent = _descend(root, path[:-1])[0]
    entry = parent.entries.get(path[-1]) if parent.is_mapping else None
    start, lead = spot.start, ""
    if entry is not None and (not spot.is_flow or spot.start == spot.end):
        # A block, or nothing at all: the value moves up behind its key, over a comment if need be.
        start, lead = text.index(":", entry.end) + 1, " "
        between = text[start : spot.start]
        if "#" in between and spot.column > entry.column:
            start, lead = spot.start, ""
    stale = _FIGURES.match(text, spot.end)
    end = stale.end() if stale is not None and "bevdiag:" not in stale[0] else spot.end
    return _Splice(start, end, -spot.column, lead + flow(value))


def _addition(text: str, spot: Spot, additions: dict[str, object], newline: str) -> _Splice:
    if spot.is_flow:
        inside = ", ".join(f"{flow(key)}: {flow(value)}" for key, value in additions.items())
        last = max((entry.value.end for entry in spot.entries.values()), default=None)
        if last is None:
            return _Splice(spot.start + 1, spot.start + 1, -spot.column, inside)
        return _Splice(last, last, -spot.column, f", {inside}")
    entries = list(spot.entries.values())
    column = entries[0].column
    on_one_line = [entry for entry in entries if entry.value.is_flow]
    scalars = not any(isinstance(value, dict) for value in additions.values())
    anchor = (on_one_line or entries)[-1] if scalars else entries[-1]
    end = text.find("\n", max(anchor.end, anchor.value.end))
    lines = [line for key, value in additions.items() for line in _block(key, value, column)]
    if end < 0:
        return _Splice(len(text), len(text), -column, newline + newline.join(lines) + newline)
    return _Splice(end + 1, end + 1, -column, "".join(line + newline for line in lines))


def _block(key: str, value: object, column: int) -> list[str]:
    """Write the lines of an entry: mappings and lists of mappings in blocks, the rest in flow."""
    pad = " " * column
    if isinstance(value, dict) and value:
        inner = [line for name, item in value.items() for line in _block(name, item, column + 2)]
        return [f"{pad}{flow(key)}:", *inner]
    if isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
        lines = [f"{pad}{flow(key)}:"]
        for item in value:
            for number, (name, part) in enumerate(item.items()):
                lines.append(f"{pad}  {'  ' if number else '- '}{flow(name)}: {flow(part)}")
        return lines
    return [f"{pad}{flow(key)}: {flow(value)}"]


def flow(value: object) -> str:
    """Write a plain value on one line, as every YAML reader understands it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, float):
        return with_dot(value)
    if isinstance(value, str):
        is_word = _WORD.fullmatch(value) and yaml.safe_dump([value]) == f"- {value}\n"
        return value if is_word else json.dumps(value, ensure_ascii=False)
    return "null" if value is None else str(value).lower()


def _spliced(text: str, splices: list[_Splice]) -> str:
    for splice in sorted(splices, reverse=True):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def says(path: Path, text: str, document: Document, changes: Changes) -> bool:
    """Whether the edited text, with the bases of `document`, says `document` with the changes.

    What the text brings is laid over what was there before: edits remove nothing, so whatever of
    the old text still counts is in the new one, and the rest came from a base.
    """
    own = TreeBuilder(text, path, ()).document()
    assert own is not None
    merged = _laid_over(tree.plain(document.root), tree.plain(own))
    return repr(merged) == repr(tree.plain(document.edited(changes).root))


def _laid_over(below: object, above: object) -> object:
    if not isinstance(above, dict):
        return above
    merged = dict(below) if isinstance(below, dict) else {}
    for key, value in above.items():
        if key != BASE_KEY:
            merged[key] = _laid_over(merged.get(key), value)
    return merged
