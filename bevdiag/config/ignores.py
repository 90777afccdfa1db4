"""Comments that silence a finding: ``# bevdiag: ignore[BEV203] why it is all right here``.

A comment speaks of its own line, or, where it stands alone, of the next line that is not a comment.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from bevdiag.errors import ConfigError, Location

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
