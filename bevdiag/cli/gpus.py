"""`bevdiag gpus`: the GPUs that --gpu knows, and where their figures come from."""

from typing import Annotated

import typer

from bevdiag.cli.output import STDOUT, layout_for, write_output


def gpus_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One of them, with the sources of its figures."),
    ] = None,
) -> int:
    """List the GPUs that --gpu knows, or tell the sources of one."""
    from bevdiag.memory.catalogue import all_gpus, find_gpu
    from bevdiag.report.text.gpu_catalogue import render_gpu, render_gpus

    layout = layout_for(STDOUT)
    text = render_gpus(all_gpus(), layout) if name is None else render_gpu(find_gpu(name), layout)
    write_output(text, STDOUT)
    return 0
