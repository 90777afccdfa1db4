"""What the numbers take for granted: target, input, settings and value-dependent counts."""

from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.result import Assumption, Prediction, Scene
from bevdiag.report.amounts import format_bytes, format_count
from bevdiag.report.text.prose import Page, beside_of
from bevdiag.report.text.table import Row, cell

_BENCHMARK = (
    "benchmark mode: the first step also tries algorithms, for a moment with up to all memory that "
    "is free; what is reported is the fastest one's, an interval"
)
_LABEL_COLUMN = 12
_COUNTS = "counts that depend on values~ | low> | expected> | high> | used>"
_DEVICES = {
    "meta": "meta tensors: predicted, nothing ran on a GPU",
    "cuda": "cuda: run on the GPU at hand, beside the prediction",
}


def write_assumed(page: Page, report: Prediction) -> None:
    """Write the section "Assumed"."""
    page.heading("Assumed")
    page.labelled(assumed_entries(report), column=_LABEL_COLUMN)
    write_assumptions(page, report.assumptions)
    if report.unmodelled:
        page.line()
        page.paragraph(not_modelled(report), indent=2, style="yellow")


def not_modelled(report: Prediction) -> str:
    """Say what keeps a verdict from standing."""
    return f"Not modelled, so no verdict stands: {', '.join(report.unmodelled)}."


def write_settings(page: Page, target: DeviceTarget, scene: Scene) -> None:
    """Write the section "Assumed" of several steps, which share target and scene alone."""
    page.heading("Assumed")
    page.labelled([*target_entries(target), *scene_entries(scene)], column=_LABEL_COLUMN)


def assumed_entries(report: Prediction) -> list[tuple[str, str]]:
    """Label and text for everything but the counts."""
    gradless, bev = report.params.without_grad, report.bev_channels
    model = f"{format_count(report.params.total)} parameters"
    if gradless:
        model += f", {format_count(gradless)} of them without gradient"
    if bev is not None:
        model += f"; {format_count(bev)} BEV channels"
    return [
        *target_entries(report.target),
        ("Run on", _DEVICES.get(report.device, report.device)),
        *([] if report.scene is None else scene_entries(report.scene)),
        ("Step", step_words(report)),
        ("Model", model),
    ]


def step_words(report: Prediction) -> str:
    """Name what the training script decides of a step."""
    words = f"autocast {report.autocast}, optimizer {report.optimizer}"
    return words if report.scene is None else f"batch size {report.scene.batch_size}, {words}"


def target_entries(target: DeviceTarget) -> list[tuple[str, str]]:
    """Label and text for the GPU and the library versions."""
    gpu = target.gpu or "none named"
    gpu += f", compute capability {target.capability_text}"
    origin = f", from {target.origin}" if target.origin else ""
    return [
        ("GPU", f"{gpu}{usable_of(target)}{origin}"),
        ("Libraries", f"torch {target.torch}, cuDNN {target.cudnn_text}"),
        *stack_entries(target),
    ]


def usable_of(target: DeviceTarget) -> str:
    """Say what of the GPU can be used, behind its name; empty where that is not known."""
    if target.capacity_bytes is None:
        return ""
    return f", {format_bytes(target.capacity_bytes)} usable{beside_of(target)}"


def stack_entries(target: DeviceTarget) -> list[tuple[str, str]]:
    """Label and text for what the prediction stands on, and for the loop around the step."""
    entries = [
        ("Profile", target.profile_words or target.rules),
        ("Loop", target.loop.words),
        ("cuDNN", _BENCHMARK if target.cudnn_benchmark else ""),
    ]
    return [(label, text) for label, text in entries if text]


def scene_entries(scene: Scene) -> list[tuple[str, str]]:
    """Label and text for the input."""
    sides = " x ".join(format_count(size) for size in scene.grid_size or ())
    grid = f", in a grid of {sides} (x, y, z)" if sides else ""
    points = f"{format_count(scene.num_points)} points{grid}"
    held = ("Points", points)
    if scene.num_voxels:
        held = ("Voxels", f"{format_count(scene.num_voxels)} from {points}")
    return [("Scene", scene.source), held]


def scene_words(scene: Scene) -> str:
    """Describe the input in a few words."""
    points = f"{format_count(scene.num_points)} points"
    voxels = f"{format_count(scene.num_voxels)} voxels from " if scene.num_voxels else ""
    return f"{scene.source}: {voxels}{points}"


def write_assumptions(page: Page, assumptions: tuple[Assumption, ...]) -> None:
    """Write every count that is not one number, with its range; nothing where there is none."""
    if not assumptions:
        return
    rows: list[Row] = [
        [
            item.site,
            *map(format_count, (item.low, item.expected, item.high)),
            cell(format_count(item.used), "bold"),
        ]
        for item in assumptions
    ]
    page.line()
    for item in page.rows(_COUNTS, rows, assumptions):
        page.paragraph(item.why, indent=4, style="dim")
