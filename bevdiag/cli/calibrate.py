"""`bevdiag calibrate`: measure the GPU at hand and write what later predictions use."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.output import STDOUT, check_output, say, write_output
from bevdiag.cli.progress import importing_torch, progress_bar
from bevdiag.errors import ExitCode, InputError
from bevdiag.prediction import values


def calibrate_command(
    configs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="CONFIG...", help="Measure the convolutions of these models' steps too."
        ),
    ] = None,
    batch_size: opt.BatchSizes = None,
    autocast: opt.Autocasts = None,
    cudnn_benchmark: Annotated[
        bool,
        typer.Option(
            "--cudnn-benchmark", help="Measure these models with cudnn.benchmark on as well."
        ),
    ] = False,
    calls: Annotated[Path | None, opt.option("--calls PROFILE")] = None,
    output: opt.OutputFile = STDOUT,
) -> int:
    """Measure the GPU at hand and write a profile for --profile.

    See docs/calibrate.md. Wants a GPU that is otherwise idle, and takes a few minutes. A FILE that
    an earlier run began is continued.
    """
    check_output(output, updated=True)
    for path in configs or ():
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
    sizes, autocasts = values.batch_sizes(batch_size), values.autocasts(autocast)
    given = {"--batch-size": batch_size, "--autocast": autocast}
    for option, value in {**given, "--cudnn-benchmark": cudnn_benchmark}.items():
        if value and not configs:
            raise InputError(f"{option}: says how a model is measured: give its CONFIG")
    with progress_bar() as progress:
        with importing_torch(progress):
            from bevdiag.accuracy.calibration import CalibrationOptions, calibrate
            from bevdiag.memory.profiles import DeviceProfile, profile_text, read_profile

        def keep(profile: DeviceProfile) -> None:
            if output != STDOUT:
                write_output(profile_text(profile), output, exact=True, updated=True)

        # A pipe or a device is no file of an earlier run.
        file = Path(output)
        is_begun = output != STDOUT and file.is_file() and file.stat().st_size > 0
        wanted = CalibrationOptions(
            configs=tuple(configs or ()),
            batch_sizes=sizes,
            autocasts=autocasts,
            calls=calls,
            cudnn_benchmark=cudnn_benchmark,
            known=read_profile(file) if is_begun else None,
        )
        calibration = calibrate(wanted, progress, keep)
    profile = calibration.profile
    write_output(profile_text(profile), output, exact=True, updated=True)
    for crash in calibration.crashes:
        say(f"skipped {crash}")
    left_out = f", {calibration.left_out} left out" if calibration.left_out else ""
    say(f"{profile.words}: {len(profile.workspaces)} convolutions measured{left_out}")
    return ExitCode.FITS
