"""The same step on every GPU of the catalogue."""

from rich.text import Text

from bevdiag.memory.verdict import GpuFit
from bevdiag.prediction.result import Prediction
from bevdiag.report.amounts import format_bytes
from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import VERDICT_WORDS, heading, paragraph
from bevdiag.report.text.table import cell

_GAP = 4


def gpu_lines(report: Prediction, layout: Layout) -> list[Text]:
    """GPU, usable memory and verdict, in as many columns as the width allows, read downward."""
    if not report.gpus:
        return []
    lines = heading("The same step on other GPUs", layout)
    cells = _cells(report.gpus)
    width = max(item.cell_len for item in cells)
    columns = max(1, (layout.width - 2 + _GAP) // (width + _GAP))
    height = -(-len(cells) // columns)
    for row in range(height):
        line = Text("  ")
        for number, item in enumerate(cells[row::height]):
            line.append(" " * _GAP if number else "")
            line.append_text(item)
            line.append(" " * (width - item.cell_len))
        line.rstrip()
        lines.append(line)
    needed = format_bytes(report.peak.high_reserved_bytes)
    note = (
        f"Usable memory and verdict; the step reserves at most {needed} on the GPU assumed above."
    )
    return lines + paragraph(note, layout, indent=2, style="dim")


def _cells(gpus: tuple[GpuFit, ...]) -> list[Text]:
    names = [cell(gpu.gpu) for gpu in gpus]
    sizes = [format_bytes(gpu.capacity_bytes) for gpu in gpus]
    name_width = max(name.cell_len for name in names)
    size_width = max(len(size) for size in sizes)
    return [
        Text.assemble(
            name,
            " " * (name_width - name.cell_len + 2),
            (size.rjust(size_width), "dim"),
            "  ",
            VERDICT_WORDS[gpu.verdict],
        )
        for gpu, name, size in zip(gpus, names, sizes, strict=True)
    ]
