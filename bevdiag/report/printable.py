"""What a reader's screen can show, and text from configs and files made safe for it and folded.

Layer names, file names and messages come from others. A terminal obeys escape sequences and
bidirectional overrides in them; nothing of the kind may pass.
"""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TextIO

from rich.cells import cell_len

PIPED_WIDTH = 100
"""Columns where nobody watches: fixed, so that the same report is the same text."""

_NARROWEST = 80


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns, whether to colour, and whether more than ASCII may be used."""

    width: int = PIPED_WIDTH
    colour: bool = False
    unicode: bool = True


def layout_of(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Layout:
    """Return the layout for `stream`: its own width on a terminal, a fixed one elsewhere.

    A non-empty NO_COLOR takes colour from a terminal, a non-empty FORCE_COLOR gives it to a pipe
    (no-color.org, force-color.org); NO_COLOR is the stronger.
    """
    terminal = stream.isatty() and environ.get("TERM") != "dumb"
    colour = terminal or bool(environ.get("FORCE_COLOR"))
    encoding = (stream.encoding or "ascii").lower().replace("-", "")
    return Layout(
        width=max(_NARROWEST, get_terminal_size((80, 24)).columns) if terminal else PIPED_WIDTH,
        colour=colour and not environ.get("NO_COLOR"),
        unicode=encoding.startswith("utf"),
    )


# A unit stays with its number.
_SPACES = re.compile(r"\s+(?!(?:[KMG]i)?B\b)")

_HIDDEN = re.compile(r"[^ -~]")
"""Every character that may need looking at."""
_HIDDEN_BESIDE_COLOURS = re.compile(r"\x1b\[[0-9;]*m|[^ -~]")
_OURS = "\n\u200b"
"""Line breaks, and what keeps Markdown from making a link."""
_COMMAND = re.compile(r"^([^\S\n]*)::", re.MULTILINE)
"""GitHub obeys a line that begins like this, and `##[command]` anywhere."""

# Between the parts of a dotted name or path first, within a part only where none ends.
_BREAK_AFTER = ("./", "=,_-:[]+")


def printable(text: str) -> str:
    """`text` as one line without control, format or unpaired surrogate characters.

    White space of any kind becomes a space; what cannot be printed is left out.
    """
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)


def command_line(words: Iterable[str]) -> str:
    """Join the words of a command as a shell reads them, what cannot be printed escaped."""
    return " ".join(
        shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_escaped, word))}'"
        for word in words
    )


def _escaped(char: str) -> str:
    if char.isprintable():
        return f"\\{char}" if char in "\\'" else char
    # A byte of a file's name that is no UTF-8 is one of the surrogates.
    number = ord(char) - 0xDC00 if "\udc80" <= char <= "\udcff" else ord(char)
    return f"\\x{number:02x}" if number < 0x80 or number != ord(char) else f"\\U{number:08x}"


def printable_lines(text: str) -> str:
    """Like `printable`, but line breaks stay."""
    return "\n".join(map(printable, text.split("\n")))


def inert(text: str, *, coloured: bool = False) -> str:
    """Strip a whole report of what a terminal obeys, and of lines that are commands to a CI.

    What comes from others has passed `printable`; this is the last gate, whatever the format. It
    leaves line breaks and, where the report is `coloured`, colours.
    """
    hidden = _HIDDEN_BESIDE_COLOURS if coloured else _HIDDEN
    is_clean = text.isascii() and text.replace("\n", "").isprintable()
    clean = text if is_clean else hidden.sub(_without, text)
    return _COMMAND.sub(r"\1: :", clean).replace("##[", "## [")


def _without(match: re.Match[str]) -> str:
    char = match[0]
    return char if len(char) > 1 or char.isprintable() or char in _OURS else ""


def fold(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` terminal cells, without losing a character of a word.

    Lines break at spaces; a word that is too long breaks after a dot or its like where it can.
    """
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    line = ""
    for word in _SPACES.split(text.strip()):
        *heads, tail = _pieces(word, width)
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        lines.extend(heads)
        line = tail
    return [*lines, line] if line else lines


def _pieces(word: str, width: int) -> list[str]:
    pieces: list[str] = []
    while cell_len(word) > width:
        end = _cells_end(word, width)
        soft = (
            index
            for breaks in _BREAK_AFTER
            for index in range(end, end // 2, -1)
            if word[index - 1] in breaks
        )
        cut = next(soft, end)
        pieces.append(word[:cut])
        word = word[cut:]
    return [*pieces, word]


def _cells_end(word: str, width: int) -> int:
    # One character at least: at a width of 1 a wide character overhangs rather than loop.
    used = 0
    for index, char in enumerate(word):
        used += cell_len(char)
        if used > width:
            return max(index, 1)
    return len(word)
