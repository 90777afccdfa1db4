"""`bevdiag explain`: which allocation an out-of-memory message is about."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.output import STDOUT, check_output, layout_for, write_output
from bevdiag.cli.progress import progress_bar
from bevdiag.diagnose.result import InspectOptions
from bevdiag.errors import InputError

MAX_LOG_BYTES = 8 * 2**20
"""Read from the end of a log, where what matters stands."""


def explain_command(
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="The message, as it was printed.")
    ] = None,
    log: Annotated[
        str | None,
        typer.Option("--log", metavar="FILE", help="A log that holds it; - is stdin. Last wins."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="CONFIG",
            help="The model's config: names the tensor. Without it the text alone is decoded.",
        ),
    ] = None,
    points: opt.Points = None,
    batch_size: opt.BatchSize = None,
    autocast: opt.Autocast = None,
    optimizer: opt.Optimizer = None,
    gpu: opt.GpuName = None,
    cudnn: opt.Cudnn = None,
    compression: opt.Compression = None,
    sets: opt.Overrides = None,
    source: opt.Source = None,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Tell which tensor or workspace an out-of-memory message is about."""
    values.choose("--format", output_format, values.FORMATS)
    check_output(output)
    text = _text(message, log)
    wanted = InspectOptions(
        device="meta",
        points=tuple(points or ()),
        batch_size=values.optional_number("--batch-size", batch_size, least=1),
        autocast=values.optional_choice("--autocast", autocast, values.AUTOCASTS),
        optimizer=values.optional_choice("--optimizer", optimizer, values.optimizers),
        gpu=values.gpu_name(gpu),
        cudnn=cudnn,
        compression=values.optional_choice("--compression", compression, values.compressions),
        overrides=values.overrides(sets),
        pins=values.pins(assume),
        seed=values.whole_number("--seed", seed, least=0),
        remedies=False,
        source=values.source_folder(source),
    )
    from bevdiag.diagnose.explain.explain import explain

    with progress_bar() as progress:
        explanation = explain(text, config, wanted, progress)
    if output_format == "json":
        from bevdiag.report.explain_json import explain_json

        report = explain_json(explanation)
    else:
        from bevdiag.report.text.explain_report import render_explain

        report = render_explain(explanation, layout_for(output))
    write_output(report, output)
    return explanation.exit_code


def _text(message: str | None, log: str | None) -> str:
    """The message, or what the log holds.

    Raises:
        InputError: neither or both are given, or the log cannot be read.
    """
    if (message is None) == (log is None):
        raise InputError("give either the message or --log FILE (- reads stdin)")
    if message is not None:
        return message
    assert log is not None
    try:
        if log == "-":
            data = b""
            while more := sys.stdin.buffer.read(MAX_LOG_BYTES):
                data = (data + more)[-MAX_LOG_BYTES:]
        else:
            with Path(log).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - MAX_LOG_BYTES))
                data = file.read()
    except OSError as error:
        raise InputError(f"--log: {log} cannot be read: {error.strerror}") from error
    return data.decode("utf-8", "replace")
