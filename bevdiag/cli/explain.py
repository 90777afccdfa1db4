"""`bevdiag explain` and `bevdiag doctor`: why a run died, and what one would die of here."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.asked import REST, STEP, OptionTexts, takes
from bevdiag.cli.output import STDOUT, check_output, write_report
from bevdiag.cli.progress import progress_bar
from bevdiag.errors import InputError
from bevdiag.files.reading import STDIN, read_stdin_tail, read_tail
from bevdiag.prediction import values
from bevdiag.prediction.options import InspectOptions

MAX_LOG_BYTES = 8 * 2**20
"""Read from the end of a log, where what matters stands."""


@takes(*STEP, "gpu", "torch", "cudnn", *REST)
def explain_command(
    asked: OptionTexts,
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="The message, as it was printed.")
    ] = None,
    log: Annotated[str | None, opt.option("--log FILE")] = None,
    config: Annotated[Path | None, opt.option("--config CONFIG")] = None,
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Tell which tensor an out-of-memory message is about."""
    values.choose("--format", output_format, values.FORMATS)
    check_output(output)
    asked.refuse_entry("explain looks a message up in a config's step")
    idle = [] if config else asked.given((*STEP, "gpu", "torch", "cudnn", *REST))
    idle = [option for option in idle if (option, log) != ("--timeout", STDIN)]
    if idle:
        raise InputError(f"{idle[0]}: says which step the text is held against: give its --config")
    seconds = values.optional(values.positive, "--timeout", asked.timeout)
    if (message is None) == (log is None):
        raise InputError("give either the message or --log FILE (- reads stdin)")
    text = _tail(log, seconds) if log is not None else message or ""
    # The message tells which GPU it was, where no option does.
    wanted = InspectOptions() if config is None else asked.job(config, judged=False).options
    from bevdiag.explain.explain import explain
    from bevdiag.report.text.explain_report import write_explain

    with progress_bar() as progress:
        explanation = explain(text, config, wanted, progress)
    write_report(explanation, output_format, output, as_text=write_explain)
    return explanation.exit_code


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


def _tail(log: str, seconds: int | None) -> str:
    try:
        if log == STDIN:
            data = read_stdin_tail(MAX_LOG_BYTES, seconds)
        else:
            data = read_tail(Path(log), MAX_LOG_BYTES)
    except InputError as error:
        raise InputError(f"--log: {error}") from error
    return data.decode("utf-8", "replace")
