"""Changes to a config as edits of its text: what they do not touch keeps every byte.

A comment with a figure beside a value that is replaced goes too: it would say what no longer holds.

A value that stands in the file is replaced where it stands; a key that does not is written below
the last of its section. What a `_BASE_CONFIG_` brought in is overridden in the file that names the
base, never in the base. A list of a base cannot be overridden in part, so the file gets all of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bevdiag.config import tree
from bevdiag.config.bases import BASE_KEY
from bevdiag.config.builder import TreeBuilder
from bevdiag.config.document import Document
from bevdiag.config.scalars import with_dot
from bevdiag.config.spans import Spot, read_spans
from bevdiag.config.tree import Listing
from bevdiag.errors import ConfigError, Location

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
