"""C++ as text: the functions that have a body, and the statements of one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_SKIPPED = re.compile(r"//[^\n]*|/\*.*?\*/|^[ \t]*#(?:[^\n\\]|\\.)*", re.DOTALL | re.MULTILINE)
_STRING = r'"(?:\\.|[^"\\])*"'
_BRACKETS = re.compile(rf"{_STRING}|[(){{}}\[\]]")
_CLOSES = {"(": ")", "{": "}", "[": "]"}
_KEYWORD = re.compile(r"(if|for|while|else|do|switch|try)\b\s*(?:constexpr\s*)?")
_BODY = re.compile(r"\s*(?:const\s*)?\{")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as written: its type, its name, and a default, empty without one."""

    type: str
    name: str
    default: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A C++ function as a file defines or declares it.

    Attributes:
        returns: the type that it returns, as written.
        body: what stands between its braces; None where it is declared alone.
        place: file and line.
    """

    returns: str
    parameters: tuple[Parameter, ...]
    body: str | None
    place: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement: a keyword with what it governs, or plain text.

    Attributes:
        keyword: if, for, ...; empty for a plain one, "{" for a block.
        text: of a plain statement, or the head in a keyword's brackets.
        body: what the keyword or the braces hold.
        other: what `else` holds.
    """

    keyword: str
    text: str = ""
    body: str = ""
    other: str = ""


def without_comments(text: str) -> str:
    """Blank out comments and what is for the preprocessor; lines keep their numbers.

    Where the preprocessor chooses the other side of a condition, a jump stays: which of the two is
    compiled is not known, and nobody follows it.
    """

    def blank(match: re.Match[str]) -> str:
        jump = "goto other_side;" if re.match(r"[ \t]*#\s*el", match[0]) else ""
        return jump + re.sub(r"[^\n]", " ", match[0])

    return _SKIPPED.sub(blank, text)


def definitions(name: str, texts: Mapping[str, str]) -> list[Definition]:
    """Find the functions of this name, those with a body first; the texts have no comments.

    Args:
        name: without namespaces.
        texts: by file, named as people would.
    """
    signature = re.compile(
        rf"^[ \t]*((?:[\w:]+(?:<[^;{{}}]*?>)?[&*\s]+)+?){name}\s*(?=\()", re.MULTILINE
    )
    found = []
    for file, text in texts.items():
        for match in signature.finditer(text):
            if match[1].split()[0] in ("return", "else", "new"):
                continue
            end = closing(text, match.end())
            opens = _BODY.match(text, end + 1)
            body = text[opens.end() : closing(text, opens.end() - 1)] if opens else None
            place = f"{file}:{text.count(chr(10), 0, match.start(1)) + 1}"
            parameters = _parameters(text[match.end() + 1 : end])
            found.append(Definition(match[1].strip(), parameters, body, place))
    return sorted(found, key=lambda one: one.body is None)


def statements(text: str) -> Iterator[Statement]:
    """Part a body into its statements."""
    at = 0
    while (at := _next(text, at)) < len(text):
        keyword = _KEYWORD.match(text, at)
        if text[at] == "{":
            end = closing(text, at)
            yield Statement("{", body=text[at + 1 : end])
            at = end + 1
        elif keyword is None:
            end = _end(text, at)
            yield Statement("", text[at:end].strip())
            at = end + 1
        else:
            head, body, at = _governed(text, keyword.end())
            other = ""
            again = re.compile(r"\s*else\b").match(text, at)
            if keyword[1] == "if" and again is not None:
                _, other, at = _governed(text, again.end(), has_head=False)
            yield Statement(keyword[1], head, body, other)


def split(text: str, at: str = ",") -> list[str]:
    """Split a text at a sign that stands in no brackets."""
    parts, start, depth = [], 0, 0
    for match in re.finditer(rf"{_STRING}|[(){{}}\[\]{at}]", text):
        if match[0] == at and not depth:
            parts.append(text[start : match.start()])
            start = match.end()
        elif match[0] in _CLOSES:
            depth += 1
        elif match[0] in _CLOSES.values():
            depth -= 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes; the end of the text if it does not."""
    depth = 0
    for match in _BRACKETS.finditer(text, start):
        if match[0] in _CLOSES:
            depth += 1
        elif match[0] in _CLOSES.values():
            depth -= 1
            if not depth:
                return match.start()
    return len(text)


def _next(text: str, at: int) -> int:
    while at < len(text) and (text[at].isspace() or text[at] == ";"):
        at += 1
    return at


def _end(text: str, at: int) -> int:
    """Where the statement that begins here ends: at its semicolon."""
    while at < len(text) and text[at] != ";":
        at = closing(text, at) if text[at] in _CLOSES else at
        at += 1
    return at


def _governed(text: str, at: int, *, has_head: bool = True) -> tuple[str, str, int]:
    """Read what a keyword's brackets hold, the statement behind them, and where that ends."""
    head = ""
    if has_head and text[at : at + 1] == "(":
        end = closing(text, at)
        head, at = text[at + 1 : end], end + 1
    at = _next(text, at)
    if text[at : at + 1] == "{":
        end = closing(text, at)
        return head, text[at + 1 : end], end + 1
    nested = _KEYWORD.match(text, at)
    if nested is None:
        end = _end(text, at) + 1
    else:
        *_, end = _governed(text, nested.end())
        while again := re.compile(r"\s*else\b").match(text, end):
            *_, end = _governed(text, again.end(), has_head=False)
    return head, text[at:end], end


def _parameters(text: str) -> tuple[Parameter, ...]:
    made = []
    for part in split(re.sub(r"<[^<>]*>", "", text)):
        declared, _, default = part.partition("=")
        found = re.fullmatch(r"(.*?)(\w+)\s*(?:\[\s*\d*\s*\]\s*)?", declared.strip(), re.DOTALL)
        if found is not None and declared.strip() != "void":
            made.append(Parameter(found[1].strip(), found[2], default.strip()))
    return tuple(made)
