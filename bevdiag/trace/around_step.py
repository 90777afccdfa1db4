"""What a training loop keeps on the GPU beside model and optimizer.

A scaler, averaged weights; and what DistributedDataParallel adds to one rank's memory.

The reducer holds a bucket of all gradients' size, which NCCL reduces in place. It begins as one;
before the second forward it is made anew as a bucket of at least 1 MiB and others of at least 25,
in the order in which the gradients came, unless unused parameters are looked for, when it begins
so, in the parameters' order, and stays. Gradients are copied into their bucket and back; as bucket
views they give up their own memory as soon as they are copied.

Sources: torch/nn/parallel/distributed.py (`_ddp_init_helper`, `_sync_module_states`),
torch/csrc/distributed/c10d/reducer.cpp (`initialize_buckets`, `rebuild_buckets`,
`compute_bucket_assignment_by_size`, `mark_variable_ready_dense`).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from bevdiag.memory.events import Category, allocating
from bevdiag.memory.loop import Loop
from bevdiag.trace.optimizers import make_state
from bevdiag.trace.recorder import Recorder

SCALE = 65536.0
MIB = 1024**2
FIRST_BUCKET_BYTES, BUCKET_BYTES = 1 * MIB, 25 * MIB
BROADCAST_BYTES = 250 * MIB
"""Parameters and buffers are sent to the other ranks in flat copies of this size at most."""


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
        self._reducer: Reducer | None = None
        if loop.gpus > 1 and not loop.evaluates:
            self._reducer = Reducer(recorder, model, loop)
        self._average: Mapping[str, torch.Tensor] = {}

    def begin(self) -> None:
        """Before the first batch: the model is on the GPU."""
        if self.loop.ema:
            state = self._model.state_dict()
            self._average = {name: torch.empty_like(value) for name, value in state.items()}
            for name, copy in self._average.items():
                self._recorder.adopt(copy, Category.PARAMETER, "", f"EMA of {name}")
        if self._reducer is not None:
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
        if self._reducer is not None:
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
                self._recorder.scratch(copy.nbytes, "EMA update")


class Reducer:
    """One rank's reducer, recorded.

    Args:
        recorder: records its buckets.
        model: whose parameters have their gradients reduced.
        loop: says how.
    """

    def __init__(self, recorder: Recorder, model: nn.Module, loop: Loop) -> None:
        self._recorder = recorder
        self._model = model
        self._loop = loop
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._ready: list[nn.Parameter] = []
        self._buckets: list[torch.Tensor] = []
        self._views: dict[nn.Parameter, torch.Tensor] = {}
        self._is_rebuilt = loop.finds_unused

    def wrap(self) -> None:
        """Wrap as the constructor: every rank gets the same weights, the first buckets are made."""
        state = [*self._model.parameters(), *self._model.buffers()]
        for chunk in bucketed([tensor.nbytes for tensor in state], [BROADCAST_BYTES]):
            flat = sum(state[index].nbytes for index in chunk)
            self._recorder.scratch(flat, "DDP broadcast")
        limits = [FIRST_BUCKET_BYTES, BUCKET_BYTES] if self._loop.finds_unused else []
        self._make(self._parameters, limits)
        for parameter in self._parameters:
            parameter.register_post_accumulate_grad_hook(self._take)  # type: ignore[no-untyped-call]

    def before_forward(self) -> None:
        """Buffers are sent to the other ranks; buckets are made anew once the order is known."""
        if not self._is_rebuilt and self._ready:
            self._is_rebuilt = True
            self._make(self._ready, [FIRST_BUCKET_BYTES, BUCKET_BYTES])
        buffers = sum(buffer.nbytes for buffer in self._model.buffers())
        if buffers:
            self._recorder.scratch(buffers, "DDP broadcast of buffers")

    def _make(self, parameters: Sequence[nn.Parameter], limits: Sequence[int]) -> None:
        self._views.clear()
        self._buckets.clear()
        sizes = [parameter.nbytes for parameter in parameters]
        for members in bucketed(sizes, limits or [sum(sizes) + 1]):
            numel = sum(parameters[index].numel() for index in members)
            with allocating(Category.GRADIENT):
                bucket = torch.empty(numel, dtype=parameters[members[0]].dtype, device="meta")
                self._recorder.adopt(bucket, Category.GRADIENT, "", "DDP bucket")
            self._buckets.append(bucket)
            offset = 0
            for index in members:
                parameter = parameters[index]
                view = bucket[offset : offset + parameter.numel()].view(parameter.shape)
                self._views[parameter] = view
                offset += parameter.numel()

    def _take(self, parameter: nn.Parameter) -> None:
        """Take a gradient, which is complete."""
        if not self._is_rebuilt:
            self._ready.append(parameter)
        if self._loop.bucket_view and parameter in self._views:
            parameter.grad = self._views[parameter]


def bucketed(sizes: Sequence[int], limits: Sequence[int]) -> list[list[int]]:
    """Return indices by bucket: one is full once its bytes reach its limit; the last limit stays.

    Args:
        sizes: bytes, in order.
        limits: bytes of the first, second, ... bucket.
    """
    buckets: list[list[int]] = []
    current: list[int] = []
    filled = 0
    for index, nbytes in enumerate(sizes):
        current.append(index)
        filled += nbytes
        if filled >= limits[min(len(buckets), len(limits) - 1)]:
            buckets.append(current)
            current, filled = [], 0
    return [*buckets, current] if current else buckets
