"""What the numbers take for granted: target, input, settings and value-dependent counts."""

from collections.abc import Sequence

from rich.text import Text

from bevdiag.prediction.result import Assumption, Prediction, Scene, Target
from bevdiag.report.amounts import format_bytes, format_count
from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import beside_of, heading, labelled_lines, paragraph
from bevdiag.report.text.table import Row, cell, columns, lay_out

_BENCHMARK = (
    "benchmark mode: the first step also tries algorithms, for a moment with up to all memory that "
    "is free; what is reported is the fastest one's, an interval"
)
_LABEL_COLUMN = 12
_COUNTS = columns("counts that depend on values~ | low> | expected> | high> | used>")
_DEVICES = {
    "meta": "meta tensors: predicted, nothing ran on a GPU",
    "cuda": "cuda: run on the GPU at hand, beside the prediction",
}


def assumed_lines(report: Prediction, layout: Layout) -> list[Text]:
    """Write the section "Assumed"."""
    lines = _section(assumed_entries(report), layout)
    lines += assumption_lines(report.assumptions, layout)
    if report.unmodelled:
        missing = f"Not modelled, so no verdict stands: {', '.join(report.unmodelled)}."
        lines += [Text(), *paragraph(missing, layout, indent=2, style="yellow")]
    return lines


def setting_lines(target: Target, scene: Scene, layout: Layout) -> list[Text]:
    """Write the section "Assumed" of several steps, which share target and scene alone."""
    return _section([*target_entries(target), *scene_entries(scene)], layout)


def _section(entries: Sequence[tuple[str, str]], layout: Layout) -> list[Text]:
    return heading("Assumed", layout) + labelled_lines(entries, layout, column=_LABEL_COLUMN)


def assumed_entries(report: Prediction) -> list[tuple[str, str]]:
    """Label and text for everything but the counts."""
    gradless = report.params.without_grad
    parameters = f"{format_count(report.params.total)} parameters" + (
        f", {format_count(gradless)} of them without gradient" if gradless else ""
    )
    bev = report.bev_channels
    return [
        *target_entries(report.target),
        ("Run on", _DEVICES.get(report.device, report.device)),
        *([] if report.scene is None else scene_entries(report.scene)),
        (
            "Step",
            ("" if report.scene is None else f"batch size {report.scene.batch_size}, ")
            + f"autocast {report.autocast}, "
            f"optimizer {report.optimizer}",
        ),
        (
            "Model",
            f"{parameters}; {format_count(bev)} BEV channels" if bev is not None else parameters,
        ),
    ]


def target_entries(target: Target) -> list[tuple[str, str]]:
    """Label and text for the GPU and the library versions."""
    gpu = target.gpu or "none named"
    capability = (
        f", compute capability {target.compute_capability}" if target.compute_capability else ""
    )
    capacity = target.capacity_bytes
    usable = ""
    if capacity is not None:
        usable = f", {format_bytes(capacity)} usable{beside_of(target)}"
    origin = f", from {target.origin}" if target.origin else ""
    entries = [
        ("GPU", f"{gpu}{capability}{usable}{origin}"),
        ("Libraries", f"torch {target.torch}, cuDNN {target.cudnn}"),
    ]
    if stands_on := target.profile or target.rules:
        entries.append(("Profile", stands_on))
    if target.loop:
        entries.append(("Loop", target.loop))
    if target.cudnn_benchmark:
        entries.append(("cuDNN", _BENCHMARK))
    return entries


def scene_entries(scene: Scene) -> list[tuple[str, str]]:
    """Label and text for the input."""
    sides = " x ".join(format_count(size) for size in scene.grid_size or ())
    grid = f", in a grid of {sides} (x, y, z)" if sides else ""
    points = format_count(scene.num_points)
    held = ("Points", f"{points} points{grid}")
    if scene.num_voxels:
        held = ("Voxels", f"{format_count(scene.num_voxels)} from {points} points{grid}")
    return [("Scene", scene.source), held]


def scene_words(scene: Scene) -> str:
    """Describe the input in a few words."""
    points = f"{format_count(scene.num_points)} points"
    voxels = f"{format_count(scene.num_voxels)} voxels from " if scene.num_voxels else ""
    return f"{scene.source}: {voxels}{points}"


def assumption_lines(assumptions: tuple[Assumption, ...], layout: Layout) -> list[Text]:
    """Every count that is not one number, with its range; empty where there is none."""
    if not assumptions:
        return []
    rows: list[Row] = [
        [
            item.site,
            *map(format_count, (item.low, item.expected, item.high)),
            cell(format_count(item.used), "bold"),
        ]
        for item in assumptions
    ]
    table = lay_out(_COUNTS, rows, layout.width, indent=2)
    below = (paragraph(item.why, layout, indent=4, style="dim") for item in assumptions)
    return [Text(), *table.lines(below)]
