"""One training step as a script writes it, for whoever listens to its phases."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bevdiag.memory.events import Phase
from bevdiag.trace.autocast import DTYPES


def copied(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the batch with copies of its tensors: every step of a training run has a new one."""
    return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """The parts of a step, in the order of the measured runs.

    The recorder of a trace and the meter of a GPU run the same step: each takes its phases one by
    one, and acts where one ends and the next begins.

    Attributes:
        batch: loads the next batch.
        loss: calls the model with that batch.
        backward: from the loss to the gradients.
        update: changes the weights and drops the gradients; None evaluates, without gradients.
        accumulate: batches whose gradients one update takes.
    """

    batch: Callable[[], Any]
    loss: Callable[[Any], torch.Tensor]
    backward: Callable[[torch.Tensor], None]
    update: Callable[[], None] | None
    accumulate: int = 1

    def phases(self) -> Iterator[Phase]:
        """Run the step, each phase when the next one is asked for.

        What only a phase's variables hold dies at the beginning of the next phase.

        Yields:
            The phase that begins.
        """
        for _ in range(self.accumulate):
            loss = None  # Of the batch before.
            yield Phase.FORWARD
            batch = self.batch()
            if self.update is None:
                with torch.no_grad():
                    self.loss(batch)
                return
            loss = self.loss(batch)
            yield Phase.BACKWARD
            del batch
            self.backward(loss)
        yield Phase.OPTIMIZER
        del loss
        if self.update is not None:
            self.update()

    def ended(self) -> Iterator[Phase]:
        """Run the step.

        Yields:
            Each phase when it is over.
        """
        running = None
        for phase in self.phases():
            if running is not None:
                yield running
            running = phase
        if running is not None:
            yield running


def cuda_step(
    model: nn.Module,
    batch: Mapping[str, Any],
    optimizer: torch.optim.Optimizer,
    *,
    autocast: str,
    max_norm: float,
) -> TrainingStep:
    """Return the step of a model on the GPU, whose loss it returns itself.

    Args:
        model: called with the batch dict in train mode.
        batch: what the loader put on the GPU.
        optimizer: of the model's parameters.
        autocast: off, fp16 or bf16.
        max_norm: what gradients are clipped to.
    """
    dtype = DTYPES.get(autocast, torch.float16)

    def loss(fresh: dict[str, Any]) -> torch.Tensor:
        with torch.autocast("cuda", dtype, enabled=autocast != "off"):
            computed: torch.Tensor = model(fresh)
        return computed

    def update() -> None:
        nn.utils.clip_grad_norm_(list(model.parameters()), max_norm)
        optimizer.step()
        optimizer.zero_grad()

    return TrainingStep(
        batch=lambda: copied(batch), loss=loss, backward=torch.autograd.backward, update=update
    )
