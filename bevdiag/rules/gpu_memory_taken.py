"""Another process holds memory of the GPU.

What it means:
    A training can have what is left. PyTorch's message counts it as neither allocated nor free.

Why it happens:
    Someone else trains on the same GPU, or a training of one's own did not end: a worker that
    outlived its parent keeps its memory.

How to fix:
    End the process if it is one's own, or choose another GPU with CUDA_VISIBLE_DEVICES.

Seen in:
    RangiLyu/nanodet#147 (https://github.com/RangiLyu/nanodet/issues/147): "CUDA error: out of
    memory" on an empty GPU, which somebody else's daemon filled.
"""

from collections.abc import Iterator

from bevdiag.environment.environment import Environment
from bevdiag.environment.gpus import GpuProcess, GpuState
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding, Severity


def check(environment: Environment) -> Iterator[Finding]:
    """Yield a finding for each GPU that others use; those that only draw are worth a note."""
    driver = environment.driver
    for gpu in driver.gpus if driver is not None else ():
        if gpu.processes:
            yield _taken(gpu)


def _taken(gpu: GpuState) -> Finding:
    computing = [process for process in gpu.processes if process.computes]
    blamed = computing or list(gpu.processes)
    pids = " ".join(str(process.pid) for process in blamed)
    return finding(
        "BEV710",
        f"GPU {gpu.index} ({gpu.name}): {format_size(gpu.used_bytes)} of "
        f"{format_size(gpu.total_bytes)} are taken",
        severity=None if computing else Severity.INFO,
        detail=(
            *(_described(process) for process in gpu.processes),
            "A training has what is left.",
        ),
        command=f"kill {pids}  # if yours; or CUDA_VISIBLE_DEVICES with another GPU"
        if computing
        else "",
    )


def _described(process: GpuProcess) -> str:
    size = format_size(process.nbytes) if process.nbytes is not None else "an unknown amount"
    name = f" ({process.name})" if process.name else ""
    return f"Process {process.pid}{name} holds {size}."
