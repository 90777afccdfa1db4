"""Outcomes by what they were measured on and with: one line each for a page that is taken in."""

from collections.abc import Mapping
from dataclasses import replace

from bevdiag.accuracy.outcome import MeasuredOn, MeasuredRow, Validation


def by_stack_and_loop(validation: Validation) -> Mapping[str, Validation]:
    """Return the rows of each stack and kind of loop, by its name, in their first order."""
    names = dict.fromkeys(_name(o.row, validation.machine) for o in validation.outcomes)
    return {
        name: replace(
            validation,
            outcomes=tuple(
                o for o in validation.outcomes if _name(o.row, validation.machine) == name
            ),
        )
        for name in names
    }


def _name(row: MeasuredRow, machine: MeasuredOn) -> str:
    stack = f"torch {row.torch or machine.torch}, cuDNN {row.cudnn or machine.cudnn}"
    loop = row.loop
    kinds = {
        "evaluation": loop.evaluates,
        f"DDP, {loop.gpus} GPUs": loop.gpus > 1,
        "GradScaler, accumulation": loop.scaler or loop.accumulate > 1,
    }
    kind = next((kind for kind, applies in kinds.items() if applies), "")
    return f"{stack}, {kind}" if kind else stack
