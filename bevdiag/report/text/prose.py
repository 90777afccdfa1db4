"""A text report as it grows: paragraphs, headings and tables, and the words of verdicts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from bevdiag.errors import Verdict
from bevdiag.report.amounts import format_bytes
from bevdiag.report.printable import Layout, fold, printable
from bevdiag.report.text.table import Row, columns, lay_out, natural_width
from bevdiag.rules.finding import Severity

# What a report is about is not loaded for a report of something else.
if TYPE_CHECKING:
    from bevdiag.memory.device import DeviceTarget

VERDICT_WORDS = {
    Verdict.FITS: ("fits", "green"),
    Verdict.OVER: ("does not fit", "red"),
    Verdict.DEPENDS: ("depends", "yellow"),
    Verdict.UNKNOWN: ("unknown", "yellow"),
    Verdict.NO_BUDGET: ("no budget", "dim"),
}

SEVERITY_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}

_Item = TypeVar("_Item")
_Given = ParamSpec("_Given")


def module_or_phase(module: str, phase: str) -> str:
    """Name the module that an operation belongs to; outside of all, the part of the step."""
    outside = {
        "forward": "the loss",
        "backward": "the backward pass of the loss",
        "optimizer": "the optimizer",
        "load": "the loading of the model",
    }
    return module or outside.get(phase, "the training step itself")


def budget_name(target: "DeviceTarget") -> str:
    """Name what the step has to fit, as a sentence calls it."""
    if target.capacity_bytes is None:
        return target.gpu or "the budget"
    return f"{target.gpu or 'the budget'} ({format_bytes(target.capacity_bytes)} usable)"


def judged_by(target: "DeviceTarget") -> str:
    """Which memory the step is judged by, and who named it; empty where nobody did."""
    if target.capacity_bytes is None or not target.origin:
        return ""
    return f"Judged by {budget_name(target)}{beside_of(target)}: from {target.origin}"


def beside_of(target: "DeviceTarget") -> str:
    """Say what the process holds beside its allocator, and whether that was measured."""
    if not target.context_bytes:
        return ""
    known = "assumed" if target.context_doubt_bytes else "measured"
    held = format_bytes(target.context_bytes)
    return f" beside {held} ({known}) of CUDA context, libraries and spconv's kernels"


class Page:
    """The lines of a report, laid out for a reader's screen as they are written.

    What comes from others is neutralised, except in a `line`.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lines: list[Text] = []

    def line(self, *parts: str | tuple[str, str] | Text) -> None:
        """Write one line of texts, each with its style or without, never folded."""
        self.lines.append(Text.assemble(*parts))

    def heading(self, title: str, *, apart: bool = True) -> None:
        """Write the title with a rule to the right edge, set `apart` by a blank line above."""
        if apart:
            self.line()
        title = printable(title)
        rule = ("\u2500" if self.layout.unicode else "-") * (
            self.layout.width - cell_len(title) - 1
        )
        self.line((title, "bold"), " ", (rule, "dim"))

    def paragraph(self, text: str, *, indent: int = 0, style: str = "") -> None:
        """Write `text`, folded, every line `indent` columns in."""
        for line in fold(printable(text), self.layout.width - indent):
            self.line(" " * indent, (line, style))

    def note(self, text: str) -> None:
        """Write what explains the figures above it."""
        self.paragraph(text, indent=2, style="dim")

    def labelled(self, entries: Iterable[tuple[str, str]], *, indent: int = 2, column: int) -> None:
        """Write a dim label and its text, `column` columns further in, where there is a text."""
        for label, text in entries:
            if text:
                inside = indent + column
                first, *more = fold(printable(text), self.layout.width - inside) or [""]
                self.line(" " * indent, (label.ljust(column), "dim"), first)
                self.lines += [Text(" " * inside + part) for part in more]

    def table(self, spec: str, rows: Sequence[Row], *, indent: int = 2) -> None:
        """Write a table; `spec` is that of `columns`."""
        for _ in self.rows(spec, rows, rows, indent=indent):
            pass

    def rows(
        self, spec: str, rows: Sequence[Row], items: Iterable[_Item], *, indent: int = 2
    ) -> Iterator[_Item]:
        """Write a table of a row an item, and yield each item behind its row, for lines below."""
        table = lay_out(columns(spec), rows, self.layout.width, indent)
        self.lines.append(table.header)
        for lines, item in zip(table.rows, items, strict=True):
            self.lines += lines
            yield item

    def table_if_room(self, spec: str, rows: Sequence[Row]) -> bool:
        """Write a table where there is room for every column without a fold, and say whether."""
        has_room = natural_width(columns(spec), rows) + 2 <= self.layout.width
        if has_room:
            self.table(spec, rows)
        return has_room

    def __str__(self) -> str:
        """Join the lines, with colour codes only where the layout wants them.

        The lines are laid out already: the console neither wraps, highlights nor reads markup, and
        looks at no environment variable.
        """
        layout = self.layout
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
            for line in self.lines:
                # One character for one, so that the styles keep their places.
                line.plain = "".join(char if char.isprintable() else " " for char in line.plain)
                console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
        text = capture.get()
        return text if layout.unicode else text.encode("ascii", "backslashreplace").decode("ascii")


def rendered(
    layout: Layout,
    write: Callable[Concatenate[Page, _Given], None],
    *given: _Given.args,
    **options: _Given.kwargs,
) -> str:
    """Return the text that a function writes on a page of that layout."""
    page = Page(layout)
    write(page, *given, **options)
    return str(page)
