"""What the reducer of DistributedDataParallel adds, and what else a loop keeps."""

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category, Phase
from bevdiag.memory.loop import NCCL_BYTES, PLAIN, Loop
from bevdiag.memory.simulate import simulate
from bevdiag.trace.around_step import bucketed
from bevdiag.trace.step import StepHooks, StepOptions, Trace, trace_steps

MIB = 1024**2
WIDTH = 1024
PARAMETERS = 3 * WIDTH * WIDTH * 4


def _trace(loop: Loop) -> Trace:
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))).to("meta")
    options = StepOptions(
        optimization=OptimizationSettings.model_validate(
            {"BATCH_SIZE_PER_GPU": 1, "OPTIMIZER": "sgd", "LR": 0.1}
        ),
        optimizer="sgd",
        num_steps=3,
        loop=loop,
    )
    batch = {"x": torch.empty(4, WIDTH, device="meta")}
    hooks = StepHooks(forward=lambda net, given: net(given["x"]).sum(), is_bare=True)
    return trace_steps(model, batch, options, hooks)


def _buckets(trace: Trace) -> list[tuple[int, int]]:
    """Step and bytes of each bucket."""
    return [
        (event.step, event.nbytes)
        for event in trace.stream.allocs()
        if event.category is Category.GRADIENT and event.shape and len(event.shape) == 1
    ]


def _resident(trace: Trace) -> int:
    """Bytes alive when the last step is over."""
    stream = trace.stream
    return int(stream.nbytes[stream.freed == len(stream.events)].sum())


@pytest.mark.parametrize(
    ("sizes", "limits", "found"),
    [
        ([4, 4, 4], [100], [[0, 1, 2]]),
        ([1, 4, 4, 4], [1, 8], [[0], [1, 2], [3]]),
        ([9, 1], [1, 8], [[0], [1]]),
        ([], [1], []),
    ],
)
def test_a_bucket_is_full_once_it_reaches_its_limit(sizes, limits, found) -> None:
    assert bucketed(sizes, limits) == found


def test_a_bucket_of_all_gradients_is_made_anew_before_the_second_step() -> None:
    buckets = _buckets(_trace(Loop(gpus=2)))
    assert buckets[0] == (0, PARAMETERS)
    # Gradients come last layer first: the first bucket is full with one of them.
    assert buckets[1:] == [(2, PARAMETERS // 3), (2, 2 * PARAMETERS // 3)]


def test_unused_parameters_leave_the_buckets_as_they_are() -> None:
    buckets = _buckets(_trace(Loop(gpus=2, finds_unused=True)))
    assert [step for step, _ in buckets] == [0, 0]


def test_the_reducer_costs_as_much_as_the_gradients() -> None:
    plain, parallel = (_resident(_trace(Loop(gpus=gpus))) for gpus in (1, 2))
    assert parallel - plain == PARAMETERS


def _after_backward(loop: Loop) -> int:
    target = make_target(torch="2.11.0", gpu="h200", profile="none")
    found = simulate(_trace(loop).stream, target, until_oom=False)
    return next(p.allocated_after_bytes for p in found.phases if p.phase is Phase.BACKWARD)


def test_bucket_views_save_the_gradients_themselves() -> None:
    apart, views = (
        _after_backward(Loop(gpus=2, bucket_view=bucket_view)) for bucket_view in (False, True)
    )
    assert apart - views == PARAMETERS


def test_gradients_wait_for_the_last_batch_of_an_update() -> None:
    def forward_of(trace: Trace) -> int:
        stream = trace.stream
        changes = np.zeros(len(stream.events), np.int64)
        changes[stream.made] = stream.nbytes
        changes[stream.frees] = -stream.nbytes[~stream.events[stream.frees]]
        made = stream.made[stream.where(step=2, phase=Phase.FORWARD)]
        return int(changes.cumsum()[made].max())

    plain, added = (forward_of(_trace(Loop(accumulate=batches))) for batches in (1, 2))
    assert added - plain >= PARAMETERS


def test_averaged_weights_are_kept_and_a_scaler_costs_next_to_nothing() -> None:
    plain = _resident(_trace(PLAIN))
    assert _resident(_trace(Loop(ema=True))) - plain == PARAMETERS
    assert 0 < _resident(_trace(Loop(scaler=True))) - plain < 1024


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_checkpoint_brings_the_optimizers_state_before_the_first_step(gpus: int) -> None:
    plain, resumed = (_trace(Loop(gpus=gpus, resumes=resumes)) for resumes in (False, True))
    state = {
        name: trace.stream.where(category=Category.OPTIMIZER_STATE)
        for name, trace in (("plain", plain), ("resumed", resumed))
    }
    assert set(plain.stream.step[state["plain"]]) == {1}
    assert set(resumed.stream.step[state["resumed"]]) == {0}
    sizes = [sum(t.stream.nbytes[state[n]]) for n, t in (("plain", plain), ("resumed", resumed))]
    assert sizes[0] == sizes[1] > 0
    # Of a single process, the checkpoint's weights lie on the GPU until they are copied.
    copies = [e for e in resumed.stream.allocs() if e.op == "checkpoint" and e.module == ""]
    assert len(copies) == (6 if gpus == 1 else 3)
    assert _resident(resumed) == _resident(plain)


def test_evaluation_has_neither_gradients_nor_an_optimizer() -> None:
    trace = _trace(Loop(evaluates=True))
    made = list(trace.stream.allocs())
    assert {event.phase for event in made} == {Phase.LOAD, Phase.FORWARD}
    assert Category.GRADIENT not in {event.category for event in made}


@pytest.mark.parametrize("gpu", ["h200", None])
def test_nccl_is_taken_from_what_the_process_may_use(gpu) -> None:
    budget = 8 * 1024**3
    alone, parallel = (
        make_target(torch="2.11.0", gpu=gpu, process_bytes=budget, loop=Loop(gpus=gpus))
        for gpus in (1, 2)
    )
    assert alone.capacity_bytes is not None
    assert parallel.capacity_bytes is not None
    assert alone.capacity_bytes - parallel.capacity_bytes == NCCL_BYTES
    assert parallel.context_bytes - alone.context_bytes == NCCL_BYTES
