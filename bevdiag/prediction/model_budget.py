"""Whether a training step of a model, made by the user's own code, fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import nn

from bevdiag.config.settings import OptimizationSettings
from bevdiag.errors import InputError
from bevdiag.memory.device import make_target
from bevdiag.prediction.figures import target_of
from bevdiag.prediction.judged import judged
from bevdiag.prediction.model_report import ModelReport
from bevdiag.prediction.summary import phases_of
from bevdiag.trace.any_model import Loss, trace_model
from bevdiag.trace.autocast import DTYPES
from bevdiag.trace.step import FEWEST_STEPS, StepOptions

OPTIMIZERS: tuple[str, ...] = get_args(OptimizationSettings.model_fields["optimizer"].annotation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBudget:
    """What a step must fit, and how it is run; the names and texts are those of the options."""

    budget_bytes: int | None = None
    gpu: str | None = None
    torch: str | None = None
    cudnn: str | None = None
    autocast: str = "off"
    optimizer: str = "adamw"
    steps: int = FEWEST_STEPS

    def __post_init__(self) -> None:
        if self.budget_bytes is None and self.gpu is None:
            raise InputError("say what the step must fit: a size such as '24GiB', or gpu='rtx4090'")
        _one_of("autocast", self.autocast, ("off", *DTYPES))
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        if not isinstance(self.steps, int) or self.steps < FEWEST_STEPS:
            raise InputError(
                f"steps={self.steps!r}: at least {FEWEST_STEPS}, as the first has no optimizer "
                "state yet"
            )


def _one_of(option: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{option}={value!r}: take one of {', '.join(known)}")


def judge_model(
    model: nn.Module, inputs: Any, loss: Loss | None, budget: ModelBudget
) -> ModelReport:
    """Trace the model's step (see `trace_model`) and judge it.

    Raises:
        InputError: the model, its inputs or the budget cannot be used.
        NoVerdictError: a shape depends on feature values.
    """
    target = make_target(
        torch=budget.torch or torch.__version__,
        gpu=budget.gpu,
        budget_bytes=budget.budget_bytes,
        cudnn=budget.cudnn,
    )
    options = StepOptions(
        optimization=OptimizationSettings(),
        optimizer=budget.optimizer,
        autocast=budget.autocast,
        num_steps=budget.steps,
    )
    trace = trace_model(model, inputs, loss, options)
    step = judged({"expected": trace}, target)
    return ModelReport(
        target=target_of(target),
        verdict=step.verdict,
        peak=step.peak(),
        phases=phases_of(step.expected),
        first_step_peak_bytes=step.expected.first_step.allocated_bytes
        if step.expected.first_step
        else 0,
        oom=step.oom(),
        unmodelled=tuple(trace.stream.unmodelled),
    )
