"""Any nn.Module with its inputs, as a source of its training step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import nn

from bevdiag.config.settings import OptimizationSettings
from bevdiag.errors import InputError
from bevdiag.memory.device import DeviceTarget, make_target
from bevdiag.prediction.judged import Judged
from bevdiag.prediction.step_source import EVERY, Recorded, Sifted
from bevdiag.trace.any_model import Loss, trace_model
from bevdiag.trace.autocast import DTYPES
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.step import FEWEST_STEPS, StepOptions

OPTIMIZERS: tuple[str, ...] = get_args(OptimizationSettings.model_fields["optimizer"].annotation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBudget:
    """What a step must fit, and how it is run; the names and texts are those of the options.

    Attributes:
        budget_bytes: what its allocator may reserve.
        process_bytes: what the process may take; `origin` says who said so.
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
    origin: str = ""

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


@dataclass(frozen=True)
class Module:
    """The step of a model that the user's own code made; see `trace_model`.

    Attributes:
        network: stays as it is.
        inputs: tensors in any nesting of tuples, lists and dicts.
        loss: of what the model returns; None takes the loss that it returns, or else the sum of
            its outputs.
        budget: what the step must fit, and how it is run.
    """

    network: nn.Module
    inputs: Any
    loss: Loss | None
    budget: ModelBudget

    name = ""
    bev_channels = None

    @property
    def model(self) -> str:
        return type(self.network).__name__

    @property
    def autocast(self) -> str:
        return self.budget.autocast

    @property
    def optimizer(self) -> str:
        return self.budget.optimizer

    def target(self) -> DeviceTarget:
        target = make_target(
            torch=self.budget.torch or torch.__version__,
            gpu=self.budget.gpu,
            budget_bytes=self.budget.budget_bytes,
            process_bytes=self.budget.process_bytes,
            cudnn=self.budget.cudnn,
        )
        return replace(target, origin=self.budget.origin)

    def record(self, scenarios: Sequence[Scenario] = EVERY) -> Recorded:
        """Record the training step.

        Raises:
            InputError: the model, its inputs or the budget cannot be used.
            NoVerdictError: a shape depends on feature values.
        """
        options = StepOptions(
            optimization=OptimizationSettings(),
            optimizer=self.optimizer,
            autocast=self.autocast,
            num_steps=self.budget.steps,
            target=self.target(),
        )
        keeps_output = self.budget.keeps_output
        trace = trace_model(
            self.network, self.inputs, self.loss, options, keeps_output=keeps_output
        )
        return Recorded(traces={Scenario.EXPECTED: trace})

    def findings(self, recorded: Recorded, step: Judged) -> Sifted:
        """There is no config to find anything in."""
        return (), ()
