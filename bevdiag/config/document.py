"""The merged config as it was written: values, where each one stands, and what is suspicious.

Comments silence a finding: ``# bevdiag: ignore[BEV203] why it is all right here``. A comment speaks
of its own line, or, where it stands alone, of the next line that is not a comment.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import yaml

from bevdiag.config import tree
from bevdiag.config.tree import Section
from bevdiag.errors import ConfigError, Location


class NoteCode(str, Enum):
    """What kind of thing a note is about."""

    AMBIGUOUS_SCALAR = "ambiguous-scalar"
    DUPLICATE_KEY = "duplicate-key"
    NUMBER_AS_TEXT = "number-as-text"
    UNKNOWN_KEY = "unknown-key"
    COPIES_DIFFER = "copies-differ"


@dataclass(frozen=True, slots=True)
class ReadingNote:
    """One suspicious thing; `key` is its dotted path."""

    code: NoteCode
    message: str
    key: str
    location: Location


MAX_COMMENTS = 1000

# What ends a line for YAML.
_ENDS = "\n\r\x85\u2028\u2029"
_LINE_END = re.compile(f"\r\n|[{_ENDS}]")
# YAML takes a # for a comment at the start of a line or behind white space.
_COMMENT = re.compile(rf"(?<![^ \t{_ENDS}])#[ \t]*bevdiag:[ \t]*([^{_ENDS}]*)")
_IGNORE = re.compile(r"ignore\[([^\]]*)\](.*)")


@dataclass(frozen=True, slots=True)
class IgnoreComment:
    """One comment.

    Attributes:
        codes: what it silences; none where it cannot be understood.
        reason: the words behind the bracket.
        line: the line it speaks of, from 1.
        location: where it stands.
    """

    codes: tuple[str, ...]
    reason: str
    line: int
    location: Location


def ignore_comments(text: str, file: Path) -> tuple[IgnoreComment, ...]:
    """Return the comments of a YAML text that was read without an error.

    Raises:
        ConfigError: there are more than anybody writes.
    """
    found = list(_COMMENT.finditer(text))
    if not found:
        return ()
    if len(found) > MAX_COMMENTS:
        message = f"more than {MAX_COMMENTS} comments that silence findings"
        raise ConfigError(message, location=Location(file, 1, 1))
    starts, ends = [0], [0]
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken):
            starts.append(token.start_mark.index)
            ends.append(token.end_mark.index)
    # A # before the end of the scalar that starts last before it is a part of that scalar.
    comments = [
        match for match in found if match.start() >= ends[bisect_right(starts, match.start()) - 1]
    ]
    return tuple(_comments(comments, text, file))


def _comments(matches: list[re.Match[str]], text: str, file: Path) -> Iterator[IgnoreComment]:
    lines = _LINE_END.split(text)
    starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
    spoken_of = _lines_spoken_of(lines)
    for match in matches:
        number = bisect_right(starts, match.start())
        column = match.start() - starts[number - 1] + 1
        words = _IGNORE.fullmatch(match.group(1).strip())
        codes = words.group(1).split(",") if words else []
        yield IgnoreComment(
            codes=tuple(code.strip() for code in codes if code.strip()),
            reason=words.group(2).strip() if words else "",
            line=spoken_of[number - 1],
            location=Location(file, number, column),
        )


def _lines_spoken_of(lines: list[str]) -> list[int]:
    """For each line its own number, or, where it is a comment alone, that of the next that is not.

    Comments at the end of a text speak of themselves.
    """
    numbers = list(range(1, len(lines) + 1))
    following = None
    for index in reversed(range(len(lines))):
        words = lines[index].strip()
        if words.startswith("#"):
            numbers[index] = following or numbers[index]
        elif words:
            following = numbers[index]
    return numbers


@dataclass(frozen=True, slots=True)
class Document:
    """What a config says, bases and overrides merged.

    Keys are dotted paths; a list's entry is named by index or by its NAME, as in
    ``DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.VOXEL_SIZE``.
    """

    root: Section
    notes: tuple[ReadingNote, ...] = ()
    """What was suspicious about the text itself."""
    ignores: tuple[IgnoreComment, ...] = ()
    """The comments that silence findings."""

    def get(self, key: str) -> object:
        """Return the plain value at `key` (dicts, tuples, scalars), None where nothing stands."""
        node = tree.find(self.root, key.split("."))
        return None if node is None else tree.plain(node)

    def key_location(self, key: str) -> Location:
        """Where `key` itself stands, or the nearest key around it if it is not written.

        The file is the base's for a key that a base brought in, and ``--set`` for an override.
        """
        return tree.key_location(self.root, key.split("."))

    def edited(self, changes: Mapping[tuple[str, ...], object]) -> "Document":
        """Return a copy with each value replaced, or its key removed where the value is None.

        A replaced value keeps the location of the old one, a new key gets that of its section.

        Raises:
            ConfigError: where a path leads through a value that has no keys.
        """
        root = self.root
        for path, value in changes.items():
            if value is None:
                root = tree.without(root, path)
                continue
            deepest, _ = tree.descend(root, path)
            try:
                root = tree.with_node(root, path, tree.located(value, deepest.location))
            except KeyError as error:
                message = f"there is no such place in the config: {error.args[0]!r} not found"
                raise tree.error_at(root, path, message) from error
        return replace(self, root=root)
