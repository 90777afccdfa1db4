"""The layer tree: what each module is, makes and keeps."""

from collections.abc import Sequence

from rich.text import Text

from bevdiag.prediction.result import Layer, Prediction
from bevdiag.report.amounts import bytes_if_known, count_if_known, format_shape
from bevdiag.report.layout import Layout
from bevdiag.report.printable import fold
from bevdiag.report.text.prose import heading, paragraph
from bevdiag.report.text.table import Column, Row, cell, columns, lay_out, natural_width

_LISTS = frozenset({"ModuleList", "ModuleDict"})
_NAME = Column("layer", folds=True)
_DESCRIPTION = columns("type | channels | output")
_FIGURES = columns("parameters> | kept> | workspace>1 | peak inside>")


def layer_lines(report: Prediction, layout: Layout, depth: int) -> list[Text]:
    """Write the tree down to `depth` levels; deeper where the step peaks or stops.

    One line a layer where the screen is wide enough for every column, else two.
    """
    layers = shown_layers(report, depth)
    if not layers:
        return []
    culprits = _culprits(report)
    names = [
        cell("  " * level + label, "bold" if layer.name in culprits else "")
        for layer, level, label in layers
    ]
    figures = [_figures(layer) for layer, _, _ in layers]
    wide_rows: list[Row] = [
        [name, *_description(layer), *row]
        for (layer, _, _), name, row in zip(layers, names, figures, strict=True)
    ]
    lines = heading("Layers", layout)
    wide = [_NAME, *_DESCRIPTION, *_FIGURES]
    if natural_width(wide, wide_rows) + 2 <= layout.width:
        lines += lay_out(wide, wide_rows, layout.width, indent=2).lines()
    else:
        rows: list[Row] = [[name, *row] for name, row in zip(names, figures, strict=True)]
        table = lay_out([_NAME, *_FIGURES], rows, layout.width, indent=2)
        lines += table.lines(
            _detail_lines(layer, layout, indent=4 + 2 * level) for layer, level, _ in layers
        )
    return lines + paragraph(_legend(report, layers), layout, indent=2, style="dim")


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


def _description(layer: Layer) -> Row:
    return [cell(layer.type, "cyan"), _channels(layer), format_shape(layer.output_shape)]


def _figures(layer: Layer) -> list[str]:
    sizes = (layer.saved_bytes, layer.workspace_bytes, layer.peak_bytes)
    return [
        count_if_known(layer.params or None),
        *(bytes_if_known(size or None) for size in sizes),
    ]


def _channels(layer: Layer) -> str:
    if layer.in_channels is None and layer.out_channels is None:
        return "-"
    sides = (layer.in_channels, layer.out_channels)
    return " -> ".join("-" if side is None else str(side) for side in sides)


def _detail_lines(layer: Layer, layout: Layout, indent: int) -> list[Text]:
    known = [cell(layer.type).plain]
    if (channels := _channels(layer)) != "-":
        known.append(channels)
    if layer.output_shape is not None:
        known.append(format_shape(layer.output_shape))
    parts = fold("  ".join(known), layout.width - indent)
    return [Text.assemble(" " * indent, (part, "dim")) for part in parts]


def _legend(report: Prediction, layers: Sequence[tuple[Layer, int, str]]) -> str:
    shown = {layer.name for layer, _, _ in layers}
    hidden = sum(item.type not in _LISTS for item in report.layers if item.name not in shown)
    deeper = f" Deeper layers not shown: {hidden} (--depth N shows more)." if hidden else ""
    return (
        "kept: activations held for the backward pass, children included; peak inside: all "
        f"memory allocated at the highest moment within the layer.{deeper}"
    )
