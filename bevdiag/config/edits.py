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
from typing import Any, TypeAlias

import yaml

from bevdiag.config import tree
from bevdiag.config.bases import BASE_KEY
from bevdiag.config.document import Document
from bevdiag.config.tree import Listing
from bevdiag.config.yaml_tree import TreeBuilder, with_dot
from bevdiag.errors import ConfigError

Changes = Mapping[tree.Path, object]
_Node: TypeAlias = Any
"""PyYAML's; its stubs leave out what the kinds of them hold."""


class _AsWritten(yaml.SafeLoader):
    """Composes nodes that know their place in the text; an alias is a scalar of its own."""

    def compose_node(self, parent: _Node | None, index: Any) -> _Node | None:
        self.anchors.clear()
        if not self.check_event(yaml.AliasEvent):
            return super().compose_node(parent, index)
        alias = self.get_event()  # type: ignore[no-untyped-call]
        return yaml.ScalarNode("", f"*{alias.anchor}", alias.start_mark, alias.end_mark)


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
    # `TreeBuilder` has read the text before, which refuses whatever is hostile or broken.
    root = yaml.compose(text, Loader=_AsWritten)
    splices: list[_Splice] = []
    missing: dict[int, tuple[_Node, dict[str, object]]] = {}
    newline = "\r\n" if "\r\n" in text else "\n"
    for key in changes:
        target = _own_target(root, document, key)
        value = wanted.get(tree.dotted(target))
        # 1, 1.0 and true are equal to Python but not to a config.
        if repr(document.get(tree.dotted(target))) == repr(value):
            continue
        way, rest = _descend(root, target)
        is_shared = any(text.startswith(("&", "*"), node.start_mark.index) for node in way)
        if is_shared or (rest and not isinstance(way[-1], yaml.MappingNode)):
            raise ConfigError(
                "this value has an anchor or is an alias, so a change would reach other places "
                "too: write it out to have it changed",
                location=document.key_location(tree.dotted(target)),
                key=tree.dotted(target),
            )
        if rest:
            _, additions = missing.setdefault(id(way[-1]), (way[-1], {}))
            _put(additions, rest, value)
        else:
            splices.append(_replacement(text, way, target[-1], value))
    for node, additions in missing.values():
        splices.append(_addition(text, node, additions, newline))
    return _spliced(text, splices)


def _own_target(root: _Node, document: Document, path: tree.Path) -> tree.Path:
    """Return the path itself, or that of the base's list around it, which must be written whole."""
    _, rest = _descend(root, path)
    for depth in range(len(path) - len(rest), len(path)):
        node = tree.find(document.root, path[:depth])
        if isinstance(node, Listing) and _descend(root, path[:depth])[1]:
            return path[:depth]
    return path


def _descend(root: _Node, path: tree.Path) -> tuple[list[_Node], tree.Path]:
    """Return the nodes on the way to `path` that are written, and the keys that are left."""
    way = [root]
    for depth, key in enumerate(path):
        below = _entry(way[-1], key)
        if below is None:
            return way, path[depth:]
        way.append(below[1])
    return way, ()


def _entry(node: _Node, key: str) -> tuple[_Node | None, _Node] | None:
    """Return the key (of a mapping) and the value that `key`, an index or a NAME stands for."""
    if isinstance(node, yaml.MappingNode):
        return next((entry for entry in reversed(node.value) if entry[0].value == key), None)
    if not isinstance(node, yaml.SequenceNode):
        return None
    if key.isdecimal() and int(key) < len(node.value):
        return None, node.value[int(key)]
    names = ((_entry(item, "NAME"), item) for item in node.value)
    return next(((None, item) for name, item in names if name and name[1].value == key), None)


def _end(node: _Node) -> int:
    """Where a value ends; a block's own mark stands where the next one begins, comments between."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(node, yaml.MappingNode) else last)


def _put(additions: dict[str, object], path: tree.Path, value: object) -> None:
    for key in path[:-1]:
        below = additions.setdefault(key, {})
        assert isinstance(below, dict)
        additions = below
    additions[path[-1]] = value


def _replacement(text: str, way: list[_Node], key: str, value: object) -> _Splice:
    *_, parent, node = way
    written, _ = _entry(parent, key) or (None, None)
    begin, end, column = node.start_mark.index, _end(node), node.start_mark.column
    start, lead = begin, ""
    if written is not None and (not _is_flow(node) or begin == end):
        # A block, or nothing at all: the value moves up behind its key, over a comment if need be.
        start, lead = text.index(":", written.end_mark.index) + 1, " "
        if "#" in text[start:begin] and column > written.start_mark.column:
            start, lead = begin, ""
    stale = _FIGURES.match(text, end)
    if stale is not None and "bevdiag:" not in stale[0]:
        end = stale.end()
    return _Splice(start, end, -column, lead + flow(value))


def _is_flow(node: _Node) -> bool:
    """Whether it is written in brackets, or on one line as a scalar."""
    return node.style not in ("|", ">") if isinstance(node, yaml.ScalarNode) else node.flow_style


def _addition(text: str, node: _Node, additions: dict[str, object], newline: str) -> _Splice:
    column = node.start_mark.column
    if node.flow_style:
        inside = ", ".join(f"{flow(key)}: {flow(value)}" for key, value in additions.items())
        if not node.value:
            start = node.start_mark.index + 1
            return _Splice(start, start, -column, inside)
        last = max(_end(value) for _, value in node.value)
        return _Splice(last, last, -column, f", {inside}")
    column = node.value[0][0].start_mark.column
    on_one_line = [entry for entry in node.value if _is_flow(entry[1])]
    scalars = not any(isinstance(value, dict) for value in additions.values())
    key, value = (on_one_line or node.value)[-1] if scalars else node.value[-1]
    end = text.find("\n", max(key.end_mark.index, _end(value)))
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
