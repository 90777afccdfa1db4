"""`bevdiag scene`: what frames hold, to be shared where the clouds cannot."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.output import STDOUT, check_output, say, write_output
from bevdiag.errors import ExitCode
from bevdiag.prediction import values
from bevdiag.prediction.values import optional

if TYPE_CHECKING:
    from bevdiag.scenes.statistics import CellGrid

scene_app = typer.Typer(rich_markup_mode=None, help="Count what your frames hold, for --scene.")


@scene_app.callback()
def _scene() -> None:
    """Count what your frames hold, for --scene."""


@scene_app.command("measure")
def measure_command(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Point clouds, or folders of them.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="CONFIG",
            help="Count in the range and the voxels of this config, and read its features. "
            "Default: 100 m around, 0.1 x 0.1 x 0.15 m.",
        ),
    ] = None,
    point_columns: opt.PointColumns = None,
    point_dtype: opt.PointDtype = None,
    output: opt.OutputFile = STDOUT,
) -> int:
    """Count points, occupied voxels at strides 1 to 16 and lone voxels, as percentiles.

    A file is one sample as training voxelizes it, sweeps merged.
    """
    check_output(output)
    from bevdiag.report.as_json import dumps
    from bevdiag.scenes.point_layout import PointLayout
    from bevdiag.scenes.statistics import measured

    grid, features, stored = _where(config)
    layout = PointLayout(
        features=features,
        point_cloud_range=grid.point_cloud_range,
        stored=stored,
        columns=optional(values.point_columns, "--point-columns", point_columns),
        dtype=optional(values.point_dtype, "--point-dtype", point_dtype),
    )
    statistics, notes = measured(files, layout, grid)
    write_output(dumps(asdict(statistics)), output)
    for note in notes:
        say(note)
    say(f"{statistics.frames} frames counted")
    return ExitCode.FITS


def _where(config: Path | None) -> "tuple[CellGrid, tuple[str, ...], tuple[str, ...]]":
    """Where to count, the features that are read, and those that files store."""
    from bevdiag.config.data import frame_settings
    from bevdiag.scenes.statistics import DEFAULT_GRID, CellGrid

    if config is None:
        return DEFAULT_GRID, ("x", "y", "z"), ()
    from bevdiag.source.settings import read_source_config

    settings = read_source_config(config)
    size = settings.voxel_size
    grid = CellGrid(
        point_cloud_range=settings.point_cloud_range,
        voxel_size=DEFAULT_GRID.voxel_size if size is None else (size[0], size[1], size[2]),
    )
    frame = frame_settings(settings.document.get("DATA_CONFIG"))
    return grid, settings.point_features, frame.stored
