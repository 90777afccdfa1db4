"""What a training loop keeps on the GPU beside model and optimizer: a scaler, averaged weights."""

from collections.abc import Mapping

import torch
from torch import nn

from bevdiag.memory.events import Category
from bevdiag.memory.loop import Loop
from bevdiag.trace.ddp import Reducer
from bevdiag.trace.optimizers import make_state
from bevdiag.trace.recorder import Recorder

SCALE = 65536.0


class AroundStep:
    """The loop's own part of each step, recorded in its order.

    Args:
        recorder: records it.
        model: the one that is trained.
        loop: says what there is.
    """

    def __init__(self, recorder: Recorder, model: nn.Module, loop: Loop) -> None:
        self.loop = loop
        self._recorder = recorder
        self._model = model
        self._reducer = Reducer(recorder, model, loop) if loop.gpus > 1 else None
        self._average: Mapping[str, torch.Tensor] = {}

    def begin(self) -> None:
        """Before the first batch: the model is on the GPU."""
        if self.loop.ema:
            state = self._model.state_dict()
            self._average = {name: torch.empty_like(value) for name, value in state.items()}
            for name, copy in self._average.items():
                self._recorder.adopt(copy, Category.PARAMETER, "", f"EMA of {name}")
        if self._reducer is not None and not self.loop.evaluates:
            self._reducer.wrap()

    def resume(self, optimizer: torch.optim.Optimizer) -> None:
        """Load a checkpoint as load_params_with_optimizer does, before the first step.

        A single process has it all on the GPU for a moment; the optimizer's state is its own from
        then on. Several processes load it to the host, and only that state comes over.
        """
        weights = [] if self.loop.gpus > 1 else [*self._model.state_dict().values()]
        copies = [
            self._recorder.temporary(value.nbytes, "checkpoint")
            for value in weights
            if value.nbytes
        ]
        for tensor in make_state(optimizer):
            self._recorder.adopt(tensor, Category.OPTIMIZER_STATE, "", "checkpoint")
        self._recorder.release(*copies)

    def before_forward(self) -> None:
        """Before each batch's forward pass."""
        if self._reducer is not None and not self.loop.evaluates:
            self._reducer.before_forward()

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """Scale the loss that backward starts from."""
        if not self.loop.scaler:
            return loss
        self._recorder.once("scale", 4, "GradScaler's scale")
        self._recorder.once("growth", 4, "GradScaler's growth tracker")
        return loss * SCALE

    def before_update(self) -> list[int]:
        """Gradients are unscaled in place; what was found about them is kept until the update."""
        if not self.loop.scaler:
            return []
        return [
            self._recorder.temporary(4, op)
            for op in ("GradScaler's inverse scale", "GradScaler's finding")
        ]

    def after_update(self, held: list[int]) -> None:
        """Forget what the scaler found; weights flow into their average one by one."""
        for block in held:
            self._recorder.release(block)
        for copy in self._average.values():
            if copy.is_floating_point():
                nbytes = copy.nbytes
                self._recorder.scratch(nbytes, "EMA update")
