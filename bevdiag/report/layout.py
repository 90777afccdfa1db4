"""What the reader's screen can show: width, colour and characters."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TextIO

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
