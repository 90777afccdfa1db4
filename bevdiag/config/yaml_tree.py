"""YAML text to a located tree, within limits that no honest config comes near.

The tree is built from the events of PyYAML's pure-Python parser, with the plain tags alone: no
object is ever constructed, and a hostile text is refused before it costs memory or time.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from bevdiag.config import tree
from bevdiag.config.document import NoteCode, ReadingNote
from bevdiag.config.tree import Listing, Node, Plain, Scalar, Section, describe, shortened
from bevdiag.errors import ConfigError, Location

TAG = "tag:yaml.org,2002:"
MAX_INTEGER = 2**63 - 1

# A longer number is no size of anything, and Python's conversion of it would be slow.
_MAX_NUMBER_CHARACTERS = 64
# YAML 1.1 wants a dot and a sign (1.0e-3); everybody else, YAML 1.2 included, reads these too.
_EXPONENT_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")

_resolver = Resolver()
_constructor = SafeConstructor()


class NotPlainError(ValueError):
    """A scalar that a config may not hold; the message says why."""


def exponent_number(event: yaml.ScalarEvent) -> float | None:
    """Return the number that an unquoted scalar such as 1e-3 means, text to YAML 1.1."""
    if event.style is not None or event.tag is not None:
        return None
    if not _EXPONENT_NUMBER.fullmatch(event.value) or _tag(event) != TAG + "str":
        return None
    number = float(event.value)
    if math.isinf(number):
        raise NotPlainError(f"the number {shortened(event.value)} is too large")
    return number


def scalar_value(event: yaml.ScalarEvent) -> Plain:
    """Return the value of a scalar.

    Raises:
        NotPlainError: for a tag of Python's or of an application, and for an absurd number.
    """
    text: str = event.value
    tag = _tag(event)
    match tag.removeprefix(TAG):
        # A date, a bare `=` or `<<` has no use as a value but may be somebody's text.
        case "str" | "timestamp" | "value" | "merge":
            return text
        case "null":
            return None
        case "bool" | "int" | "float" as kind:
            return _number(kind, text)
    raise NotPlainError(foreign_tag(tag))


def is_ambiguous(event: yaml.ScalarEvent, value: Plain) -> bool:
    """Whether an unquoted scalar is `value` to YAML 1.1 alone: yes for true, 012 for 10."""
    if event.style is not None or event.tag is not None:
        return False
    text: str = event.value
    if isinstance(value, bool):
        return text.lower() not in ("true", "false")
    octal = isinstance(value, int) and re.fullmatch(r"[-+]?0[0-7_]+", text) is not None
    return octal or (isinstance(value, (int, float)) and ":" in text)


def foreign_tag(tag: str) -> str:
    """Say what is wrong with a tag beyond the plain ones."""
    named = shortened(tag.replace(TAG, "!!"))
    return f"the tag {named} is not allowed: a config holds plain values only"


def with_dot(number: float) -> str:
    """Write the number with a dot and a signed exponent, a number to every YAML reader."""
    return yaml.safe_dump(number).split()[0]


def _tag(event: yaml.ScalarEvent) -> str:
    if event.tag is not None and event.tag != "!":
        return str(event.tag)
    # types-PyYAML leaves resolve() without annotations.
    return str(_resolver.resolve(yaml.ScalarNode, event.value, event.implicit))  # type: ignore[no-untyped-call]


def _number(kind: str, text: str) -> Plain:
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise NotPlainError(f"the number {shortened(text)} is too large")
    construct = getattr(_constructor, f"construct_yaml_{kind}")
    try:
        value: Plain = construct(yaml.ScalarNode(TAG + kind, text))
    except (ValueError, KeyError, IndexError) as error:
        raise NotPlainError(f"{text!r} is no {kind}") from error
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise NotPlainError(f"the number {text} is too large")
    return value


MAX_BYTES = 1 << 20
MAX_NODES = 10_000
"""How much a config may hold: far more than any honest one, and little enough to read at once."""


@dataclass(slots=True)
class Allowance:
    """What is left for the files of one config, which share it.

    Attributes:
        num_bytes: of text.
        num_nodes: values and keys, those that an alias brings in again included.
    """

    num_bytes: int = MAX_BYTES
    num_nodes: int = MAX_NODES


MAX_DEPTH = 64
MAX_ALIASES = 64
MAX_CHARACTERS = 1024
"""Of a key or a text: YAML's own bound for a key, where no question mark stands before it."""


class TreeBuilder:
    """Builds the tree of one document.

    Args:
        text: the YAML.
        file: named in locations.
        under: where the root will stand in the whole config.
        origin: set for a value that starts in the middle of a line.
        allowance: what the files before this one have left.
    """

    def __init__(
        self,
        text: str,
        file: Path,
        under: tree.Path,
        origin: Location | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self.notes: list[ReadingNote] = []
        self._file = file
        self._origin = origin
        self._path = list(under)
        self._text = text
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, Node | None] = {}
        self._allowance = allowance or Allowance()
        self._num_aliases = 0
        self._depth = 0

    def document(self) -> Node | None:
        """Return the root, or None where the text holds no document."""
        try:
            next(self._events)  # stream start
            if isinstance(next(self._events), yaml.StreamEndEvent):
                return None
            first = next(self._events)
            root = self._node(first)
            next(self._events)  # document end
            after = next(self._events)
            if not isinstance(after, yaml.StreamEndEvent):
                raise self._error("a second document: a config is one", self._place(after))
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from error
        except yaml.reader.ReaderError as error:
            raise self._unprintable(error) from error
        bare = isinstance(first, yaml.ScalarEvent) and first.implicit[0] and not first.value
        return None if bare else root

    def _node(self, event: yaml.Event) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(1, self._place(event))
        assert isinstance(event, yaml.NodeEvent)
        if event.anchor is None:
            return self._content(event)
        if event.anchor in self._anchors:
            message = f"the anchor &{shortened(event.anchor)} stands above already"
            raise self._error(message, self._place(event))
        self._anchors[event.anchor] = None
        node = self._anchors[event.anchor] = self._content(event)
        return node

    def _content(self, event: yaml.NodeEvent) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        assert isinstance(event, yaml.CollectionStartEvent)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", TAG + ("map" if is_mapping else "seq")):
            raise self._error(foreign_tag(event.tag), self._place(event))
        self._depth += 1
        self._check_depth(self._depth, self._place(event))
        node = self._section(event) if is_mapping else self._listing(event)
        self._depth -= 1
        return node

    def _listing(self, start: yaml.Event) -> Listing:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._path.append(str(len(items)))
            items.append(self._node(event))
            self._path.pop()
        return Listing(tuple(items), self._place(start))

    def _section(self, start: yaml.Event) -> Section:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        places: dict[str, Location] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if self._is_merge_key(event):
                # Of several in one mapping PyYAML lets the last one win, unlike those in one list.
                merged |= self._merged(next(self._events))
                continue
            key = self._key(event)
            self._path.append(key)
            if key in entries:
                message = f"{key} stands here twice: the last one counts"
                self._note(NoteCode.DUPLICATE_KEY, message, self._place(event))
            entries[key] = self._node(next(self._events))
            places[key] = self._place(event)
            self._path.pop()
        return Section({**merged, **entries}, self._place(start), places)

    def _key(self, event: yaml.Event) -> str:
        self._count(1, self._place(event))
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error("a key must be one word, not a list or mapping", self._place(event))
        key, where = str(event.value), self._place(event)
        self._check_length("a key", key, where)
        try:
            value = scalar_value(event)
        except NotPlainError as error:
            raise self._error(str(error), where) from error
        if not isinstance(value, str):
            found = describe(Scalar(value, where))
            message = f"the key {shortened(key)} is {found} to OpenPCDet's YAML reader: quote it"
            raise self._error(message, where)
        return key

    def _is_merge_key(self, event: yaml.Event) -> bool:
        if not isinstance(event, yaml.ScalarEvent) or event.value != "<<":
            return False
        return bool(event.implicit[0])

    def _merged(self, event: yaml.Event) -> dict[str, Node]:
        """Return what ``<<: *anchor`` or ``<<: [*one, *two]`` brings in; the first one wins."""
        node = self._node(event)
        sources = node.items if isinstance(node, Listing) else (node,)
        entries: dict[str, Node] = {}
        for source in sources:
            if not isinstance(source, Section):
                raise self._error("<< takes a mapping or a list of mappings", self._place(event))
            entries = {**source.entries, **entries}
        return entries

    def _alias(self, event: yaml.AliasEvent) -> Node:
        self._num_aliases += 1
        if self._num_aliases > MAX_ALIASES:
            raise self._error(f"more than {MAX_ALIASES} aliases", self._place(event))
        name, where = str(event.anchor), self._place(event)
        node = self._anchors.get(name)
        if node is None:
            problem = "refers to itself" if name in self._anchors else "is not defined above"
            raise self._error(f"the alias *{shortened(name)} {problem}", where)
        num_nodes, depth = tree.extent(node)
        self._count(num_nodes, where)
        self._check_depth(self._depth + depth, where)
        return node

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        location = self._place(event)
        self._check_length("a text", event.value, location)
        try:
            number = exponent_number(event)
            value = scalar_value(event) if number is None else number
        except NotPlainError as error:
            raise self._error(str(error), location) from error
        if number is not None:
            message = (
                f"{shortened(event.value)} is text to OpenPCDet's YAML reader: write "
                f"{with_dot(number)}, which is a number to every reader"
            )
            self._note(NoteCode.NUMBER_AS_TEXT, message, location)
        elif is_ambiguous(event, value):
            meant = str(value).lower() if isinstance(value, bool) else value
            message = (
                f"{event.value} is {meant} to OpenPCDet's YAML reader and not to others: write "
                f"{meant}"
            )
            self._note(NoteCode.AMBIGUOUS_SCALAR, message, location)
        return Scalar(value, location)

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> ConfigError:
        problem = " ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        where = self._location(mark.line, mark.column) if mark else self._location(0, 0)
        return self._error(f"not valid YAML: {problem}", where)

    def _unprintable(self, error: yaml.reader.ReaderError) -> ConfigError:
        before = self._text[: error.position]
        where = self._location(before.count("\n"), len(before) - before.rfind("\n") - 1)
        code = ord(self._text[error.position])
        return self._error(f"the character U+{code:04X} is not allowed in YAML", where)

    def _count(self, num_nodes: int, where: Location) -> None:
        self._allowance.num_nodes -= num_nodes
        if self._allowance.num_nodes < 0:
            raise self._error(f"more than {MAX_NODES} values", where)

    def _check_depth(self, depth: int, where: Location) -> None:
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", where)

    def _check_length(self, what: str, text: str, where: Location) -> None:
        if len(text) > MAX_CHARACTERS:
            raise self._error(f"{what} of more than {MAX_CHARACTERS} characters", where)

    def _note(self, code: NoteCode, message: str, where: Location) -> None:
        self.notes.append(ReadingNote(code, message, tree.dotted(self._path), where))

    def _error(self, message: str, where: Location) -> ConfigError:
        return ConfigError(message, location=where, key=tree.dotted(self._path))

    def _place(self, event: yaml.Event) -> Location:
        mark = event.start_mark
        return self._location(mark.line, mark.column) if mark else self._location(0, 0)

    def _location(self, line: int, column: int) -> Location:
        """Return the place of a line and column that count from 0."""
        if self._origin is None:
            return Location(self._file, line + 1, column + 1)
        return Location(self._file, self._origin.line, self._origin.column + column)
