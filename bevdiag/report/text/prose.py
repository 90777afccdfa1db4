"""Sentences, headings and verdict words of the text report, and its lines as characters."""

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from bevdiag.errors import Verdict
from bevdiag.report.amounts import format_bytes
from bevdiag.report.layout import Layout
from bevdiag.report.printable import fold, printable
from bevdiag.rules.finding import Severity

# What a report is about is not loaded for a report of something else.
if TYPE_CHECKING:
    from bevdiag.prediction.result import Target

VERDICT_WORDS = {
    Verdict.FITS: ("fits", "green"),
    Verdict.OVER: ("does not fit", "red"),
    Verdict.DEPENDS: ("depends", "yellow"),
    Verdict.UNKNOWN: ("unknown", "yellow"),
    Verdict.NO_BUDGET: ("no budget", "dim"),
}

SEVERITY_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def budget_name(target: "Target") -> str:
    """Name what the step has to fit, as a sentence calls it."""
    if target.capacity_bytes is None:
        return target.gpu or "the budget"
    capacity = format_bytes(target.capacity_bytes)
    return f"{target.gpu} ({capacity} usable)" if target.gpu else f"the budget of {capacity}"


def judged_by(target: "Target") -> str:
    """Which memory the step is judged by, and who named it; empty where nobody did."""
    if target.capacity_bytes is None or not target.origin:
        return ""
    return f"Judged by {budget_name(target)}{beside_of(target)}: from {target.origin}"


def beside_of(target: "Target") -> str:
    """Say what the process holds beside its allocator, and whether that was measured."""
    if not target.context_bytes:
        return ""
    known = "measured" if target.profile is not None else "assumed"
    held = format_bytes(target.context_bytes)
    return f" beside {held} ({known}) of CUDA context, libraries and spconv's kernels"


def heading(title: str, layout: Layout) -> list[Text]:
    """Write a blank line, then the title with a rule to the right edge."""
    title = printable(title)
    rule = ("\u2500" if layout.unicode else "-") * (layout.width - len(title) - 1)
    return [Text(), Text.assemble((title, "bold"), " ", (rule, "dim"))]


def paragraph(text: str, layout: Layout, *, indent: int = 0, style: str = "") -> list[Text]:
    """`text`, neutralised and folded, every line `indent` columns in."""
    lines = fold(printable(text), layout.width - indent)
    return [Text.assemble(" " * indent, (line, style)) for line in lines]


def labelled(label: str, text: str, layout: Layout, *, indent: int = 2, column: int) -> list[Text]:
    """Write a dim label and its text, which starts `column` columns after the indent."""
    parts = fold(printable(text), layout.width - indent - column) or [""]
    first = Text.assemble(" " * indent, (label.ljust(column), "dim"), parts[0])
    return [first, *(Text(" " * (indent + column) + part) for part in parts[1:])]


def labelled_lines(
    entries: Iterable[tuple[str, str]], layout: Layout, *, indent: int = 2, column: int
) -> list[Text]:
    """Write `labelled` for each label that has a text."""
    return [
        line
        for label, text in entries
        if text
        for line in labelled(label, text, layout, indent=indent, column=column)
    ]


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
