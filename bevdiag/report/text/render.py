"""Styled lines to characters."""

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.text import Text

from bevdiag.report.layout import Layout


def render_lines(lines: Sequence[Text], layout: Layout) -> str:
    """Join the lines to one string, with colour codes only where the layout wants them.

    The lines are laid out already: the console neither wraps, highlights nor reads markup, and
    looks at no environment variable.
    """
    console = Console(
        file=StringIO(),
        width=layout.width,
        color_system="standard" if layout.colour else None,
        force_terminal=layout.colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    with console.capture() as capture:
        for line in lines:
            # One character for one, so that the styles keep their places.
            line.plain = "".join(char if char.isprintable() else " " for char in line.plain)
            console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
    text = capture.get()
    return text if layout.unicode else text.encode("ascii", "backslashreplace").decode("ascii")
