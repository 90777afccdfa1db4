"""Whether a training step of a model, made by the user's own code, fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import nn

from bevdiag.config.settings import OptimizationSettings
from bevdiag.errors import InputError
from bevdiag.memory.device import make_target
from bevdiag.prediction.judged import judged
from bevdiag.prediction.predicted import prediction_of
from bevdiag.prediction.result import Prediction
from bevdiag.trace.any_model import Loss, trace_model
from bevdiag.trace.autocast import DTYPES
from bevdiag.trace.step import FEWEST_STEPS, StepOptions

OPTIMIZERS: tuple[str, ...] = get_args(OptimizationSettings.model_fields["optimizer"].annotation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBudget:
    """What a step must fit, and how it is run; the names and texts are those of the options.

    Attributes:
        budget_bytes: what its allocator may reserve.
        process_bytes: what the process may take.
        keeps_output: whether the loop keeps what the model returns alive during backward.
    """

    budget_bytes: int | None = None
    process_bytes: int | None = None
    gpu: str | None = None
    torch: str | None = None
    cudnn: str | None = None
    autocast: str = "off"
    optimizer: str = "adamw"
    steps: int = FEWEST_STEPS
    keeps_output: bool = True

    def __post_init__(self) -> None:
        _one_of("autocast", self.autocast, ("off", *DTYPES))
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("keeps_output", self.keeps_output, (True, False))
        if not isinstance(self.steps, int) or self.steps < FEWEST_STEPS:
            raise InputError(
                f"steps={self.steps!r}: at least {FEWEST_STEPS}, as the first has no optimizer "
                "state yet"
            )


def _one_of(option: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise InputError(f"{option}={value!r}: take one of {', '.join(map(str, known))}")


def require_budget(budget: ModelBudget) -> ModelBudget:
    """The budget, which must name what the step has to fit.

    Raises:
        InputError: it names neither a size nor a GPU.
    """
    if budget.budget_bytes is None and budget.process_bytes is None and budget.gpu is None:
        raise InputError("say what the step must fit: a size such as '24GiB', or gpu='rtx4090'")
    return budget


def judge_model(
    model: nn.Module, inputs: Any, loss: Loss | None, budget: ModelBudget
) -> Prediction:
    """Trace the model's step (see `trace_model`) and judge it.

    Raises:
        InputError: the model, its inputs or the budget cannot be used.
        NoVerdictError: a shape depends on feature values.
    """
    target = make_target(
        torch=budget.torch or torch.__version__,
        gpu=budget.gpu,
        budget_bytes=budget.budget_bytes,
        process_bytes=budget.process_bytes,
        cudnn=budget.cudnn,
    )
    options = StepOptions(
        optimization=OptimizationSettings(),
        optimizer=budget.optimizer,
        autocast=budget.autocast,
        num_steps=budget.steps,
        target=target,
    )
    trace = trace_model(model, inputs, loss, options, keeps_output=budget.keeps_output)
    step = judged({"expected": trace}, target)
    return prediction_of(
        step,
        config="",
        model=type(model).__name__,
        autocast=budget.autocast,
        optimizer=budget.optimizer,
        scene=None,
    )
