"""Any nn.Module with its inputs, as a source of its training step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.errors import InputError
from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.judged import Judged
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.step_source import EVERY, Recorded, Sifted
from bevdiag.prediction.target import device_target
from bevdiag.trace.any_model import Loss, trace_model
from bevdiag.trace.autocast import DTYPES
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.step import FEWEST_STEPS, StepOptions

OPTIMIZERS: tuple[str, ...] = get_args(OptimizationSettings.model_fields["optimizer"].annotation)


@dataclass(frozen=True)
class Module:
    """The step of a model that the user's own code made; see `trace_model`.

    Attributes:
        network: stays as it is.
        inputs: tensors in any nesting of tuples, lists and dicts.
        loss: of what the model returns; None takes the loss that it returns, or else the sum of
            its outputs.
        options: what the step is judged by, its autocast (default off) and optimizer (adamw).
        steps: training steps to record.
        keeps_output: whether the loop keeps what the model returns alive during backward.
    """

    network: nn.Module
    inputs: Any
    loss: Loss | None = None
    options: InspectOptions = field(default_factory=InspectOptions)
    steps: int = FEWEST_STEPS
    keeps_output: bool = True

    name = ""
    bev_channels = None

    def __post_init__(self) -> None:
        _one_of("autocast", self.autocast, ("off", *DTYPES))
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("keeps_output", self.keeps_output, (True, False))
        if not isinstance(self.steps, int) or self.steps < FEWEST_STEPS:
            raise InputError(
                f"steps={self.steps!r}: at least {FEWEST_STEPS}, as the first has no optimizer "
                "state yet"
            )
        if self.inputs is None:
            raise InputError("a module needs inputs: () where its forward takes none")
        if self.loss is not None and not callable(self.loss):
            raise InputError(
                f"the loss is a {type(self.loss).__name__}: give a function of what the model "
                "returns"
            )

    @property
    def model(self) -> str:
        return type(self.network).__name__

    @property
    def autocast(self) -> str:
        return self.options.autocast or "off"

    @property
    def optimizer(self) -> str:
        return self.options.optimizer or "adamw"

    def target(self) -> DeviceTarget:
        return device_target(self.options, torch.__version__)

    def record(self, scenarios: Sequence[Scenario] = EVERY) -> Recorded:
        """Record the training step.

        Raises:
            InputError: the model, its inputs or the budget cannot be used.
            NoVerdictError: the step asks for something that is not modelled.
        """
        options = StepOptions(
            optimization=OptimizationSettings(),
            optimizer=self.optimizer,
            autocast=self.autocast,
            num_steps=self.steps,
            target=self.target(),
        )
        traced = trace_model(
            self.network,
            self.inputs,
            self.loss,
            options,
            keeps_output=self.keeps_output,
            rehearses=self.options.rehearses,
        )
        return Recorded(traces=traced.traces, assumptions=traced.assumptions)

    def findings(self, recorded: Recorded, step: Judged) -> Sifted:
        """There is no config to find anything in."""
        return (), ()


def rehearses_if(rehearse: object) -> bool:
    """Whether the step is rehearsed; the argument is what a call or a marker says of it.

    Raises:
        InputError: it is neither auto nor off.
    """
    _one_of("rehearse", rehearse, ("auto", "off"))
    return rehearse == "auto"


def _one_of(option: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise InputError(f"{option}={value!r}: take one of {', '.join(map(str, known))}")
