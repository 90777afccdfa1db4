"""The layer tree: what each module is, makes and keeps."""

from collections.abc import Sequence

from bevdiag.prediction.result import Layer, Prediction
from bevdiag.report.amounts import UNKNOWN, format_bytes, format_count, format_shape
from bevdiag.report.text.prose import Page
from bevdiag.report.text.table import Row, cell

_LISTS = frozenset({"ModuleList", "ModuleDict"})
_FIGURES = "parameters> | kept> | workspace>1 | peak inside>"
_WIDE = f"layer~ | type | channels | output | {_FIGURES}"
_NARROW = f"layer~ | {_FIGURES}"


def write_layers(page: Page, report: Prediction, depth: int) -> None:
    """Write the tree down to `depth` levels; deeper where the step peaks or stops.

    One line a layer where the screen is wide enough for every column, else two.
    """
    layers = shown_layers(report, depth)
    if not layers:
        return
    culprits = _culprits(report)
    wide: list[Row] = []
    narrow: list[Row] = []
    for layer, level, label in layers:
        name = cell("  " * level + label, "bold" if layer.name in culprits else "")
        sizes = (layer.saved_bytes, layer.workspace_bytes, layer.peak_bytes)
        figures = [
            format_count(layer.params or None),
            *(format_bytes(size or None) for size in sizes),
        ]
        shape = format_shape(layer.output_shape)
        wide.append([name, cell(layer.type, "cyan"), _channels(layer), shape, *figures])
        narrow.append([name, *figures])
    page.heading("Layers")
    if not page.table_if_room(_WIDE, wide):
        for layer, level, _ in page.rows(_NARROW, narrow, layers):
            known = [layer.type, _channels(layer), format_shape(layer.output_shape)]
            text = "  ".join(one for one in known if one != UNKNOWN)
            page.paragraph(text, indent=4 + 2 * level, style="dim")
    page.note(_legend(report, layers))


def shown_layers(report: Prediction, depth: int) -> list[tuple[Layer, int, str]]:
    """Return the layers to show, each with its indentation and its name below its parent."""
    culprits = _culprits(report)
    shown: list[tuple[Layer, int, str]] = []
    path: list[tuple[str, int]] = []
    for layer in report.layers:
        on_the_way = any(f"{name}.".startswith(f"{layer.name}.") for name in culprits)
        too_deep = layer.depth >= depth and not on_the_way
        if too_deep or _says_nothing(layer, depth):
            continue
        while path and not layer.name.startswith(f"{path[-1][0]}."):
            path.pop()
        parent = f"{path[-1][0]}." if path else ""
        level = path[-1][1] + 1 if path else 0
        shown.append((layer, level, layer.name.removeprefix(parent)))
        path.append((layer.name, level))
    return shown


def _says_nothing(layer: Layer, depth: int) -> bool:
    # A list of modules never runs itself: its members say all, where they are shown.
    children_shown = layer.depth < depth - 1 or not layer.has_children
    return layer.type in _LISTS and children_shown


def _culprits(report: Prediction) -> set[str]:
    stop = {report.oom.module} if report.oom is not None else set()
    return {report.peak.module} | stop


def _channels(layer: Layer) -> str:
    if layer.in_channels is None and layer.out_channels is None:
        return UNKNOWN
    sides = (layer.in_channels, layer.out_channels)
    return " -> ".join(UNKNOWN if side is None else str(side) for side in sides)


def _legend(report: Prediction, layers: Sequence[tuple[Layer, int, str]]) -> str:
    shown = {layer.name for layer, _, _ in layers}
    hidden = sum(item.type not in _LISTS for item in report.layers if item.name not in shown)
    deeper = f" Deeper layers not shown: {hidden} (--depth N shows more)." if hidden else ""
    return (
        "kept: activations held for the backward pass, children included; peak inside: all "
        f"memory allocated at the highest moment within the layer.{deeper}"
    )
