"""From the texts of the options that commands share to what is asked of the diagnosis."""

from collections.abc import Sequence

from bevdiag.cli import values
from bevdiag.cli.values import optional
from bevdiag.diagnose.result import InspectOptions


def inspect_options(
    *,
    device: str = "meta",
    points: Sequence[str] | None = None,
    point_columns: str | None = None,
    point_dtype: str | None = None,
    batch_size: str | None = None,
    autocast: str | None = None,
    optimizer: str | None = None,
    gpu: str | None = None,
    budget: str | None = None,
    cudnn: str | None = None,
    profile: str | None = None,
    cudnn_benchmark: bool = False,
    compression: str | None = None,
    sets: Sequence[str] | None = None,
    source: str | None = None,
    data_root: str | None = None,
    assume: Sequence[str] | None = None,
    seed: str = "0",
    timeout: str | None = None,
) -> InspectOptions:
    """The options, each checked; a step is predicted, and no remedy tried, unless asked for.

    Raises:
        InputError: one of them cannot be used.
    """
    return InspectOptions(
        device=values.choose("--device", device, values.DEVICES),
        points=tuple(points or ()),
        point_columns=optional(values.point_columns, "--point-columns", point_columns),
        point_dtype=optional(values.point_dtype, "--point-dtype", point_dtype),
        batch_size=optional(values.positive, "--batch-size", batch_size),
        autocast=optional(values.autocast, "--autocast", autocast),
        optimizer=optional(values.optimizer, "--optimizer", optimizer),
        gpu=optional(values.gpu_name, "--gpu", gpu),
        budget_bytes=optional(values.size_bytes, "--budget", budget),
        cudnn=optional(values.cudnn_version, "--cudnn", cudnn),
        profile=profile,
        cudnn_benchmark=cudnn_benchmark,
        compression=optional(values.compression, "--compression", compression),
        overrides=values.overrides(sets),
        pins=values.pins(assume),
        seed=values.whole_number("--seed", seed, least=0),
        remedies=False,
        source=optional(values.source_folder, "--source", source),
        data_root=optional(values.folder, "--data-root", data_root),
        timeout_seconds=optional(values.positive, "--timeout", timeout),
    )
