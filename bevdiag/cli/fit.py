"""`bevdiag fit`: the largest batch, voxel cap or points a voxel that fits."""

from typing import Annotated

from bevdiag.cli import options as opt
from bevdiag.cli.asked import REST, STEP, TARGET, Asked, takes
from bevdiag.cli.output import STDOUT, check_output, write_report
from bevdiag.cli.progress import importing_torch, progress_bar
from bevdiag.prediction import values
from bevdiag.prediction.options import KNOBS


@takes(*STEP, *TARGET, *REST)
def fit_command(
    asked: Asked,
    config: opt.Config,
    what: Annotated[str, opt.option(f"--what {'|'.join(KNOBS)}")] = "batch",
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Find the largest batch or cap on voxels with which CONFIG fits."""
    values.choose("--format", output_format, values.FORMATS)
    values.choose("--what", what, tuple(KNOBS))
    check_output(output)
    asked.refuse_entry("fit turns a config's own batch and caps")
    wanted = asked.job(config).options
    with progress_bar() as progress:
        with importing_torch(progress):
            from bevdiag.remedies.fit import fit

        report = fit(config, wanted, what, progress)
    from bevdiag.report.text.fit_report import write_fit

    write_report(report, output_format, output, as_text=write_fit)
    return report.exit_code
