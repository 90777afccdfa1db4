"""`bevdiag doctor`: the environment that a training would run in."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.output import STDOUT, check_output, layout_for, write_output
from bevdiag.cli.progress import progress_bar


def doctor_command(
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--requirements",
            metavar="FILE",
            help="Look at the environment that this lists (requirements, pip freeze, conda) "
            "instead of the one at hand; a line python==3.X says for which Python.",
        ),
    ] = None,
    gpu: opt.GpuName = None,
    driver: Annotated[
        str | None,
        typer.Option("--driver", metavar="VERSION", help="NVIDIA driver to judge by, e.g. 535.104"),
    ] = None,
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Tell what is wrong with the software and the GPU that a training would run on."""
    values.choose("--format", output_format, values.FORMATS)
    check_output(output)
    from bevdiag.diagnose.doctor import examine

    with progress_bar() as progress:
        report = examine(requirements, values.gpu_name(gpu), driver, progress)
    if output_format == "json":
        from bevdiag.report.doctor_json import doctor_json

        text = doctor_json(report)
    else:
        from bevdiag.report.text.doctor_report import render_doctor

        text = render_doctor(report, layout_for(output))
    write_output(text, output)
    return report.exit_code
