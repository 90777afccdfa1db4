"""`bevdiag explain` and `bevdiag doctor`: why a run died, and what one would die of here."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.asked import REST, STEP, OptionTexts, reports, takes
from bevdiag.cli.output import Output
from bevdiag.cli.progress import progress_bar
from bevdiag.errors import InputError
from bevdiag.files.reading import STDIN, STDIN_SECONDS, read_part, read_stdin_tail
from bevdiag.prediction import values
from bevdiag.prediction.options import InspectOptions

MAX_LOG_BYTES = 8 * 2**20
"""Read from the end of a log, where what matters stands."""

_TAKEN = (*STEP, "gpu", "torch", "cudnn", *REST)


@takes(*_TAKEN, no_entry="explain looks a message up in a config's step")
@reports(values.FORMATS)
def explain_command(
    asked: OptionTexts,
    output: Output,
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="The message, as it was printed.")
    ] = None,
    log: Annotated[str | None, opt.option("--log FILE")] = None,
    config: Annotated[Path | None, opt.option("--config CONFIG")] = None,
) -> int:
    """Tell which tensor an out-of-memory message is about."""
    if config is None:
        idle = [name for name in _TAKEN if (name, log) != ("timeout", STDIN)]
        asked.refuse(idle, "says which step the text is held against: give its --config")
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
    output.write(explanation, write_explain)
    return explanation.exit_code


@reports(values.FORMATS)
def doctor_command(
    output: Output,
    requirements: Annotated[Path | None, opt.option("--requirements FILE")] = None,
    gpu: opt.GpuName = None,
    driver: Annotated[str | None, opt.option("--driver VERSION")] = None,
) -> int:
    """Tell what is wrong with the software and the GPU of a training."""
    model = values.optional(values.gpu_name, "--gpu", gpu)
    from bevdiag.doctor.examine import examine
    from bevdiag.report.text.doctor_report import write_doctor

    with progress_bar() as progress:
        report = examine(requirements, model, driver, progress)
    output.write(report, write_doctor)
    return report.exit_code


def _tail(log: str, seconds: int | None) -> str:
    try:
        if log == STDIN:
            data = read_stdin_tail(MAX_LOG_BYTES, seconds or STDIN_SECONDS)
        else:
            data = read_part(Path(log), MAX_LOG_BYTES, tail=True)
    except InputError as error:
        raise InputError(f"--log: {error}") from error
    return data.decode("utf-8", "replace")
