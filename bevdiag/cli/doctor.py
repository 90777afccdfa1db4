"""`bevdiag doctor`: the environment that a training would run in."""

from pathlib import Path
from typing import Annotated

from bevdiag.cli import options as opt
from bevdiag.cli.output import STDOUT, check_output, write_report
from bevdiag.cli.progress import progress_bar
from bevdiag.prediction import values


def doctor_command(
    requirements: Annotated[Path | None, opt.option("--requirements FILE")] = None,
    gpu: opt.GpuName = None,
    driver: Annotated[str | None, opt.option("--driver VERSION")] = None,
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Tell what is wrong with the software and the GPU of a training."""
    values.choose("--format", output_format, values.FORMATS)
    check_output(output)
    model = values.optional(values.gpu_name, "--gpu", gpu)
    from bevdiag.doctor.examine import examine
    from bevdiag.report.text.doctor_report import write_doctor

    with progress_bar() as progress:
        report = examine(requirements, model, driver, progress)
    write_report(report, output_format, output, as_text=write_doctor)
    return report.exit_code
