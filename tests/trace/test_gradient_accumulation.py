"""The recorder's trickiest claim, against PyTorch's own CPU allocator with no mode watching.

Autograd treats a watched tensor as a subclass: it adds gradients out of place and scatters into
copies. The memory profiler reports what an unwatched run allocates, so each toy graph here runs
twice, recorded on meta and for real on the CPU. Both must ask for the same blocks and come to the
same peak.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bevdiag.memory.events import Phase

Loss = Callable[[str], torch.Tensor]

N = 1000
# Python numbers wrapped as CPU tensors, and the state of the CPU's generator that checkpoints
# save: neither is the device's.
_SCALAR_BYTES = 16
_GENERATOR_STATE_BYTES = torch.get_rng_state().numel()


def _leaf(device: str, *shape: int) -> torch.Tensor:
    return torch.zeros(*shape, device=device, requires_grad=True)


def fan_out_of_2(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    return (y.sin() + y.cos()).sum()


def fan_out_of_3(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    return (y.sin() + y.cos() + y.exp()).sum()


def fan_out_at_a_leaf(device: str) -> torch.Tensor:
    x = _leaf(device, N)
    return (x.sin() + x.cos()).sum()


def gradient_shared_by_a_residual(device: str) -> torch.Tensor:
    # The sum's gradient goes to both branches as one tensor: no buffer is the engine's alone.
    y = _leaf(device, N) * 2
    return (y + y.exp()).sum()


def residual_blocks(device: str) -> torch.Tensor:
    x = _leaf(device, N)
    for _ in range(3):
        x = x + (x * 2).relu()
    return x.pow(2).sum()


def twice_the_same(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    return (y + y).pow(2).sum()


def views(device: str) -> torch.Tensor:
    y = _leaf(device, 10, 100) * 2
    return y.t().exp().sum() + y.view(-1).sin().sum() + y[2:5].cos().sum()


def chunks(device: str) -> torch.Tensor:
    a, b, c = (_leaf(device, 10, 30) * 2).chunk(3, 1)
    return (a * b + c.exp()).sum()


def broadcast(device: str) -> torch.Tensor:
    y, z = _leaf(device, 10, 1) * 2, _leaf(device, 10, 50)
    return (y * z + y.expand(10, 50).exp()).sum()


def concatenation(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    return torch.cat([y, y.exp(), y]).sin().sum()


def columns(device: str) -> torch.Tensor:
    y = _leaf(device, 50, 20) * 2
    return y[:, 3].exp().sum() + y[:, 4].sin().sum()


def index(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    rows = torch.arange(0, N, 3, device="cpu")
    return y[rows].exp().sum()


def gather(device: str) -> torch.Tensor:
    y = _leaf(device, 50, 20) * 2
    columns = torch.zeros(50, 4, dtype=torch.int64, device=device)
    return y.gather(1, columns).exp().sum()


def maximum(device: str) -> torch.Tensor:
    y = _leaf(device, 50, 20) * 2
    return y.max(1)[0].exp().sum()


def linear_layers(device: str) -> torch.Tensor:
    x, weight, bias = _leaf(device, 10, 7), _leaf(device, 5, 7), _leaf(device, 5)
    hidden = F.linear(x * 2, weight, bias)
    return F.linear(hidden.relu(), weight.t()).pow(2).sum()


class _AddsInPython(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * 3

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * 3 + x


class _AddsToATemporary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * 3

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        # Nothing but the call holds the left operand, as in the engine's own sums.
        return (grad * 3).add(*ctx.saved_tensors)


class _TwoOutputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 3, x * 2

    @staticmethod
    def backward(ctx: Any, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return first + second


def custom_function_that_adds(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    return (_AddsInPython.apply(y) + y.exp()).sum()


def custom_function_that_adds_to_a_temporary(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    return (_AddsToATemporary.apply(y) + y.exp()).sum()


def custom_function_that_adds_its_own_gradients(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    first, second = _TwoOutputs.apply(y)
    return (first.exp() + second.sin() + y.cos()).sum()


def reentrant_checkpoint(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    again = checkpoint(lambda z: (z.sin() + z.cos()).exp(), y, use_reentrant=True)
    return (again + y.tanh()).sum()


def checkpoint_by_hooks(device: str) -> torch.Tensor:
    y = _leaf(device, N) * 2
    again = checkpoint(lambda z: (z.sin() + z.cos()).exp(), y, use_reentrant=False)
    return (again + y.tanh()).sum()


GRAPHS: tuple[Loss, ...] = (
    fan_out_of_2,
    fan_out_of_3,
    fan_out_at_a_leaf,
    gradient_shared_by_a_residual,
    residual_blocks,
    twice_the_same,
    views,
    chunks,
    broadcast,
    concatenation,
    columns,
    index,
    gather,
    maximum,
    linear_layers,
    custom_function_that_adds,
    custom_function_that_adds_to_a_temporary,
    custom_function_that_adds_its_own_gradients,
    reentrant_checkpoint,
    checkpoint_by_hooks,
)


def _recorded(recordings: Any, loss_on: Loss) -> list[int]:
    """Bytes allocated (positive) and freed (negative), in order, by the recorder on meta."""
    with recordings.recording() as recorder:
        loss = loss_on("meta")
        recorder.mark(1, Phase.BACKWARD)
        torch.autograd.backward(loss)
    stream = recorder.stream(1)
    changes = np.zeros(len(stream.events), np.int64)
    nbytes = np.where([bool(event.shape) for event in stream.allocs()], stream.nbytes, 0)
    changes[stream.made] = nbytes
    changes[stream.frees] = -nbytes[~stream.events[stream.frees]]
    return [size for size in changes.tolist() if size and _counts(size)]


def _real(loss_on: Loss) -> list[int]:
    """The same of PyTorch's CPU allocator."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        loss = loss_on("cpu")
        loss.backward()
    result = profiler.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in result.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return list(filter(_counts, sizes))


def _counts(nbytes: int) -> bool:
    return abs(nbytes) > _SCALAR_BYTES and abs(nbytes) != _GENERATOR_STATE_BYTES


def _peak(sizes: list[int]) -> int:
    total = highest = 0
    for nbytes in sizes:
        total += nbytes
        highest = max(highest, total)
    return highest


@pytest.mark.parametrize("loss_on", GRAPHS, ids=lambda graph: graph.__name__)
def test_a_step_allocates_what_an_unwatched_run_allocates(recordings: Any, loss_on: Loss) -> None:
    recorded, real = _recorded(recordings, loss_on), _real(loss_on)
    assert Counter(n for n in recorded if n > 0) == Counter(n for n in real if n > 0)
    assert _peak(recorded) == _peak(real)
