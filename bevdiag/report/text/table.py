"""A plain table: aligned columns that are left out or folded, never cut, where space is short."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from bevdiag.report.printable import fold, printable

_GAP = 2
_NARROWEST_FOLD = 24

Row = Sequence[str | Text]
"""A plain text is neutralised; what is styled has been."""
Rows = Sequence[Row]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    `spare` ranks what can be left out, the highest first; 0 is never left out. A `folds` column
    gives up width by folding its cells.
    """

    header: str
    right: bool = False
    spare: int = 0
    folds: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Laid-out lines: the header, and the lines of each row, so that callers can add below one."""

    header: Text
    rows: list[list[Text]]


def columns(text: str) -> list[Column]:
    """Read columns from text such as `name~ | size> | share>1`.

    ~ stands for `folds`, > for `right`, and a digit is `spare`.
    """
    found = [re.fullmatch(r"(.*?)([~>]?)(\d?)", part.strip()) for part in text.split("|")]
    return [
        Column(match[1], right=match[2] == ">", folds=match[2] == "~", spare=int(match[3] or 0))
        for match in found
        if match is not None
    ]


def cell(value: str, style: str = "") -> Text:
    """Make a table cell from any text, neutralised."""
    return Text(printable(value), style=style)


def natural_width(columns: Sequence[Column], rows: Rows) -> int:
    """Terminal cells that the table takes with every column and no fold."""
    return _total(_widths(columns, _cells(rows)))


def lay_out(columns: Sequence[Column], rows: Rows, width: int, indent: int = 0) -> Table:
    """Fits the table into `width` cells, `indent` included: leaves out, then folds."""
    space = width - indent
    cells = _cells(rows)
    widths = _widths(columns, cells)
    kept = _kept_columns(columns, widths, space)
    columns, widths = [columns[i] for i in kept], [widths[i] for i in kept]
    _fold(widths, columns, space)
    header = [Text(column.header, style="dim") for column in columns]
    return Table(
        header=_row_lines(columns, header, widths, indent)[0],
        rows=[_row_lines(columns, [row[i] for i in kept], widths, indent) for row in cells],
    )


def _cells(rows: Rows) -> list[list[Text]]:
    return [[item if isinstance(item, Text) else cell(item) for item in row] for row in rows]


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> list[int]:
    return [
        max([cell_len(column.header), *(row[i].cell_len for row in rows)])
        for i, column in enumerate(columns)
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _kept_columns(columns: Sequence[Column], widths: Sequence[int], space: int) -> list[int]:
    needed = [
        min(natural, max(_NARROWEST_FOLD, cell_len(column.header))) if column.folds else natural
        for column, natural in zip(columns, widths, strict=True)
    ]
    kept = list(range(len(columns)))
    for index in sorted(kept, key=lambda i: columns[i].spare, reverse=True):
        if columns[index].spare == 0 or _total([needed[i] for i in kept]) <= space:
            break
        kept.remove(index)
    return kept


def _fold(widths: list[int], columns: Sequence[Column], space: int) -> None:
    """Take width from the widest column that folds until all fit or none can give any."""
    for _ in range(_total(widths) - space):
        folding = [i for i, column in enumerate(columns) if column.folds and widths[i] > 1]
        if folding:
            widths[max(folding, key=lambda i: widths[i])] -= 1


def _row_lines(
    columns: Sequence[Column], row: Sequence[Text], widths: Sequence[int], indent: int
) -> list[Text]:
    folded = [
        fold(text.plain, width) if column.folds else [text.plain]
        for column, text, width in zip(columns, row, widths, strict=True)
    ]
    lines = []
    for number in range(max(len(parts) for parts in folded)):
        line = Text(" " * indent)
        for i, parts in enumerate(folded):
            part = parts[number] if number < len(parts) else ""
            padding = " " * max(0, widths[i] - cell_len(part))
            line.append(" " * _GAP if i else "")
            line.append(padding + part if columns[i].right else part, style=row[i].style)
            line.append("" if columns[i].right else padding)
        line.rstrip()
        lines.append(line)
    return lines
