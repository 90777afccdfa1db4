"""A forward pass and its loss with values, on the CPU: what a rehearsal runs, whatever the model.

Everything counts as the device's, and every question about values is numbered, as in the trace.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from bevdiag.memory.events import Category
from bevdiag.trace.assumed_values import RehearsedValues
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.functions import cuda_functions
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.workers import own_cores

SEED = 0
"""Of weights and of what is drawn in the step: that of most training scripts."""
OTHER_SEEDS = (1, 2)
"""They show how far a number spreads that no operation bounds."""


def prepare(seed: int = SEED) -> None:
    """Settle what all real runs have in common: every core that there is for it, and a seed."""
    torch.set_num_threads(own_cores())
    seed_draws(seed)


def seed_draws(seed: int = SEED) -> None:
    """Have the code that runs from here on draw the same numbers each time, on the host."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


@contextmanager
def same_draws() -> Iterator[None]:
    """Inside, code draws as a real run does; afterwards, as if it had drawn nothing."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        seed_draws()
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def run_for_real(
    model: nn.Module,
    inputs: Iterable[Any],
    recorder: Recorder,
    values: RehearsedValues,
    call: Callable[[], object],
    around: AbstractContextManager[object] | None = None,
) -> None:
    """Run `call`, which applies the model and its loss, in full precision and without a graph.

    Args:
        model: with values, on the CPU.
        inputs: those among them that are tensors are the device's, like the model's own.
        recorder: asks `values`.
        values: hears every answer.
        call: what is run.
        around: a context for it.
    """
    for tensor in (*model.parameters(), *model.buffers(), *inputs):
        if isinstance(tensor, torch.Tensor):
            recorder.adopt(tensor, Category.INPUT, "", "rehearsal")
    with (
        torch.no_grad(),
        Attribution(model) as attribution,
        recorder,
        cuda_functions(recorder, None),
        around or nullcontext(),
    ):
        recorder.attribution = attribution
        values.begin_pass()
        call()
