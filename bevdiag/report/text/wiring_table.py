"""How the modules are wired: what the map is made of, and what leads nowhere."""

from rich.text import Text

from bevdiag.prediction.result import Prediction
from bevdiag.report.amounts import count_if_known, format_count
from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import heading, paragraph
from bevdiag.report.text.table import Row, cell, columns, lay_out
from bevdiag.trace.wiring import BatchEntry, DeadBranch

_DEAD = columns("not reached by the loss~ | parameters> | why~")
_ENTRIES = columns("batch dict~ | channels> | declared>1 | written by~ | read by~")


def wiring_lines(report: Prediction, layout: Layout, *, verbose: bool) -> list[Text]:
    """Write the section "Wiring": what is off, all if `verbose`; empty where all is sound."""
    wiring = report.wiring
    if wiring is None or (wiring.is_sound and not verbose):
        return []
    lines = heading("Wiring", layout)
    if wiring.bev_map is not None and wiring.bev_sources:
        lines += paragraph(_map_sentence(wiring.bev_map, wiring.bev_sources), layout, indent=2)
    for entry in wiring.misdeclared:
        lines += paragraph(_misdeclared(entry), layout, indent=2, style="yellow")
    if wiring.dead_branches:
        lines += [Text(), *_dead_lines(wiring.dead_branches, layout)]
        lines += paragraph(
            f"{format_count(report.params.without_grad)} of {format_count(report.params.total)} "
            "parameters get no gradient.",
            layout,
            indent=2,
            style="dim",
        )
    if verbose:
        lines += [Text(), *_entry_lines(wiring.entries, layout)]
    return lines


def _map_sentence(bev_map: BatchEntry, sources: tuple[BatchEntry, ...]) -> str:
    channels = f" of {format_count(bev_map.channels)} channels" if bev_map.channels else ""
    made_of = " and ".join(
        f"{source.key}, which {module_name(source.written_by)} wrote last"
        + (f" and {source.computed_by} computed" if source.computed_by else "")
        for source in sources
    )
    return f"{bev_map.written_by} makes the BEV map{channels} of {made_of}."


def _misdeclared(entry: BatchEntry) -> str:
    return (
        f"{module_name(entry.written_by)} declares {entry.declared} channels and delivers "
        f"{entry.channels} as {entry.key}."
    )


def _dead_lines(branches: tuple[DeadBranch, ...], layout: Layout) -> list[Text]:
    rows: list[Row] = [
        [
            cell(branch.path, "bold"),
            count_if_known(branch.params or None),
            branch.reason,
        ]
        for branch in branches
    ]
    return lay_out(_DEAD, rows, layout.width, indent=2).lines()


def _entry_lines(entries: tuple[BatchEntry, ...], layout: Layout) -> list[Text]:
    rows = [
        [
            entry.key,
            count_if_known(entry.channels),
            count_if_known(entry.declared),
            module_name(entry.written_by),
            ", ".join(map(module_name, entry.read_by)) or "-",
        ]
        for entry in entries
    ]
    return lay_out(_ENTRIES, rows, layout.width, indent=2).lines()


def module_name(module: str | None) -> str:
    """Name the module, or who stands where there is none."""
    return "the loader" if module is None else module or "the detector"
