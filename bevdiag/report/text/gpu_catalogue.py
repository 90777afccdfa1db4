"""The catalogue of GPUs, as text."""

from rich.text import Text

from bevdiag.memory.catalogue import Gpu, assumed_context
from bevdiag.memory.verdict import GpuFit
from bevdiag.prediction.result import Prediction
from bevdiag.report.amounts import format_bytes
from bevdiag.report.printable import printable
from bevdiag.report.text.prose import VERDICT_WORDS, Page

_GAP = 4


def write_gpus(page: Page, report: Prediction) -> None:
    """GPU, usable memory and verdict, in as many columns as the width allows, read downward."""
    if not report.gpus:
        return
    page.heading("The same step on other GPUs")
    cells = _cells(report.gpus)
    width = max(item.cell_len for item in cells)
    columns = max(1, (page.layout.width - 2 + _GAP) // (width + _GAP))
    height = -(-len(cells) // columns)
    for row in range(height):
        line = Text("  ")
        for number, item in enumerate(cells[row::height]):
            line.append(" " * _GAP if number else "")
            line.append_text(item)
            line.append(" " * (width - item.cell_len))
        line.rstrip()
        page.line(line)
    needed = format_bytes(report.peak.high_reserved_bytes)
    page.note(
        f"Usable memory and verdict; the step reserves at most {needed} on the GPU assumed above."
    )


def _cells(gpus: tuple[GpuFit, ...]) -> list[Text]:
    sizes = [format_bytes(gpu.capacity_bytes) for gpu in gpus]
    name_width = max(len(gpu.gpu) for gpu in gpus) + 2
    size_width = max(map(len, sizes))
    return [
        Text.assemble(
            printable(gpu.gpu).ljust(name_width),
            (size.rjust(size_width), "dim"),
            "  ",
            VERDICT_WORDS[gpu.verdict],
        )
        for gpu, size in zip(gpus, sizes, strict=True)
    ]


_COLUMNS = "name | memory> | usable> | compute> | figure1 | also~"
_LABEL_COLUMN = 10


def write_catalogue(page: Page, gpus: tuple[Gpu, ...]) -> None:
    """All GPUs, one a row, the smallest memory first."""
    rows = [
        [
            gpu.name,
            format_bytes(gpu.total_bytes),
            format_bytes(gpu.usable_bytes),
            _compute(gpu),
            gpu.total_source.partition(":")[0],
            ", ".join(gpu.aliases),
        ]
        for gpu in gpus
    ]
    page.table(_COLUMNS, rows, indent=0)
    page.line()
    page.paragraph(
        "memory: what CUDA reports; usable: less CUDA's context, the libraries and spconv's "
        "kernels, on a GPU that nobody else uses (--margin leaves a desktop its share). An assumed "
        "figure is no verdict near the limit. bevdiag gpus NAME names the source; --budget SIZE "
        "is for any other.",
        style="dim",
    )


def write_gpu(page: Page, gpu: Gpu) -> None:
    """One GPU, with the sources of its figures."""
    page.line((gpu.name, "bold"))
    context = assumed_context()
    entries = [
        ("memory", f"{format_bytes(gpu.total_bytes)}; {gpu.total_source}"),
        ("context", f"{format_bytes(context.nbytes)}; {context.source}"),
        ("usable", format_bytes(gpu.usable_bytes)),
        ("compute", f"{_compute(gpu)}, {gpu.multiprocessors} multiprocessors"),
        ("also", ", ".join(gpu.aliases)),
    ]
    page.labelled(entries, column=_LABEL_COLUMN)


def _compute(gpu: Gpu) -> str:
    return ".".join(map(str, gpu.compute_capability))
