"""Comments that silence a finding: ``# bevdiag: ignore[BEV203] why it is all right here``.

A comment speaks of its own line, or, where it stands alone, of the next line that is not a comment.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from bevdiag.errors import Location

# YAML takes a # for a comment at the start of a line or behind white space.
_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#[ \t]*bevdiag:[ \t]*(.*)", re.MULTILINE)
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
    """The comments of a YAML text that was read without an error."""
    found = list(_COMMENT.finditer(text))
    if not found:
        return ()
    scalars = [
        (token.start_mark.index, token.end_mark.index)
        for token in yaml.scan(text, Loader=yaml.SafeLoader)
        if isinstance(token, yaml.ScalarToken)
    ]
    comments = [
        match for match in found if not any(start <= match.start() < end for start, end in scalars)
    ]
    return tuple(_comments(comments, text, file))


def _comments(matches: list[re.Match[str]], text: str, file: Path) -> Iterator[IgnoreComment]:
    lines = text.splitlines()
    for match in matches:
        number = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        words = _IGNORE.fullmatch(match.group(1).strip())
        codes = words.group(1).split(",") if words else []
        yield IgnoreComment(
            codes=tuple(code.strip() for code in codes if code.strip()),
            reason=words.group(2).strip() if words else "",
            line=_line_spoken_of(lines, number),
            location=Location(file, number, column),
        )


def _line_spoken_of(lines: list[str], number: int) -> int:
    if not lines[number - 1].lstrip().startswith("#"):
        return number
    rest = enumerate(lines[number:], start=number + 1)
    following = (n for n, line in rest if line.strip() and not line.lstrip().startswith("#"))
    return next(following, number)
