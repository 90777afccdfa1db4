"""`bevdiag init`: a project's policy to fill in."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.output import STDOUT, check_output, say, write_output
from bevdiag.errors import ExitCode, InputError
from bevdiag.prediction import values


def init_command(
    gpu: opt.GpuName = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to write; - is stdout.")
    ] = "bevdiag.toml",
) -> int:
    """Write a commented bevdiag.toml, the project's policy."""
    from bevdiag.policy.keys import policy_toml

    if output != STDOUT and Path(output).exists():
        raise InputError(f"{output} is there already: bevdiag init -o - prints what it would be")
    check_output(output)
    named = None if gpu is None else values.gpu_name("--gpu", gpu)
    write_output(policy_toml(named), output)
    if output != STDOUT:
        say(f"{output} is written: bevdiag preflight CONFIG... judges by it")
    return ExitCode.FITS
