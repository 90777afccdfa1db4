"""How the modules are wired: what the map is made of, and what leads nowhere."""

from bevdiag.prediction.result import Prediction
from bevdiag.report.amounts import UNKNOWN, format_count
from bevdiag.report.text.prose import Page
from bevdiag.report.text.table import Row, cell
from bevdiag.trace.wiring import BatchEntry

_DEAD = "not reached by the loss~ | parameters> | why~"
_ENTRIES = "batch dict~ | channels> | declared>1 | written by~ | read by~"


def write_wiring(page: Page, report: Prediction, *, verbose: bool) -> None:
    """Write the section "Wiring": what is off, all if `verbose`; nothing where all is sound."""
    wiring = report.wiring
    if wiring is None or (wiring.is_sound and not verbose):
        return
    page.heading("Wiring")
    if wiring.bev_map is not None and wiring.bev_sources:
        page.paragraph(_map_sentence(wiring.bev_map, wiring.bev_sources), indent=2)
    for entry in wiring.misdeclared:
        page.paragraph(
            f"{module_name(entry.written_by)} declares {entry.declared} channels and delivers "
            f"{entry.channels} as {entry.key}.",
            indent=2,
            style="yellow",
        )
    if wiring.dead_branches:
        dead: list[Row] = [
            [cell(branch.path, "bold"), format_count(branch.params or None), branch.reason]
            for branch in wiring.dead_branches
        ]
        page.line()
        page.table(_DEAD, dead)
        page.note(
            f"{format_count(report.params.without_grad)} of {format_count(report.params.total)} "
            "parameters get no gradient."
        )
    if verbose:
        page.line()
        page.table(_ENTRIES, [_cells(entry) for entry in wiring.entries])


def _map_sentence(bev_map: BatchEntry, sources: tuple[BatchEntry, ...]) -> str:
    channels = f" of {format_count(bev_map.channels)} channels" if bev_map.channels else ""
    made_of = " and ".join(
        f"{source.key}, which {module_name(source.written_by)} wrote last"
        + (f" and {source.computed_by} computed" if source.computed_by else "")
        for source in sources
    )
    return f"{bev_map.written_by} makes the BEV map{channels} of {made_of}."


def _cells(entry: BatchEntry) -> Row:
    return [
        entry.key,
        format_count(entry.channels),
        format_count(entry.declared),
        module_name(entry.written_by),
        ", ".join(map(module_name, entry.read_by)) or UNKNOWN,
    ]


def module_name(module: str | None) -> str:
    """Name the module, or who stands where there is none."""
    return "the loader" if module is None else module or "the detector"
