"""`bevdiag fix` and `bevdiag fit`: what makes a step fit, and how much of it does."""

from typing import Annotated

from bevdiag.cli import options as opt
from bevdiag.cli.asked import FIXED, REST, STEP, TARGET, OptionTexts, reports, takes
from bevdiag.cli.output import STDOUT, Output, say, write_output
from bevdiag.cli.progress import importing_torch, progress_bar
from bevdiag.errors import InputError
from bevdiag.prediction import values
from bevdiag.prediction.options import KNOBS


@takes(*FIXED, *REST, no_entry="fix changes a config")
@reports(values.FORMATS)
def fix_command(
    asked: OptionTexts,
    output: Output,
    config: opt.Config,
    diff: Annotated[bool, opt.option("--diff")] = False,
    write: Annotated[bool, opt.option("--write")] = False,
    unsafe: Annotated[bool, opt.option("--unsafe")] = False,
) -> int:
    """Find the cheapest changes with which CONFIG fits."""
    if diff and (write or output.format != "text"):
        raise InputError("--diff prints the edits and nothing else: leave out --write and --format")
    wanted = asked.job(config).options
    with progress_bar() as progress:
        with importing_torch(progress):
            from bevdiag.remedies.fix import fix

        report = fix(config, wanted, progress, unsafe=unsafe, write=write)
    from bevdiag.report.text.fix_report import outcome, write_fix

    if diff:
        say(outcome(report))
        _write_diff(report.diff, output.file)
    else:
        output.write(report, write_fix)
    return report.exit_code


@takes(*STEP, *TARGET, *REST, no_entry="fit turns a config's own batch and caps")
@reports(values.FORMATS)
def fit_command(
    asked: OptionTexts,
    output: Output,
    config: opt.Config,
    what: Annotated[str, opt.option(f"--what {'|'.join(KNOBS)}")] = "batch",
) -> int:
    """Find the largest batch or cap on voxels with which CONFIG fits."""
    values.choose("--what", what, tuple(KNOBS))
    wanted = asked.job(config).options
    with progress_bar() as progress:
        with importing_torch(progress):
            from bevdiag.remedies.fit import fit

        report = fit(config, wanted, what, progress)
    from bevdiag.report.text.fit_report import write_fit

    output.write(report, write_fit)
    return report.exit_code


def _write_diff(diff: str, output: str) -> None:
    """Write the diff byte for byte into a file; to stdout without what a terminal or a CI obeys."""
    from bevdiag.report.printable import inert

    if output != STDOUT:
        write_output(diff, output, exact=True)
        return
    write_output(inert(diff), output, exact=True)
    if inert(diff) != diff:
        say("the diff leaves out characters that a terminal obeys: -o FILE has it as it is")
