"""What is said of a loop, and what it holds outside the allocator."""

import pytest

from bevdiag.memory.loop import NCCL_BYTES, PLAIN, Loop


def test_a_plain_loop_has_nothing_to_say() -> None:
    assert PLAIN.is_plain
    assert PLAIN.words == ""
    assert PLAIN.nccl_bytes == 0
    assert PLAIN.split == "train"


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        (Loop(gpus=2), "measured with two H200"),
        (Loop(gpus=8), "assumed"),
        (Loop(accumulate=4), "4 batches an update"),
        (Loop(scaler=True, ema=True), "GradScaler, EMA of the weights"),
        (Loop(evaluates=True), "evaluation"),
    ],
)
def test_what_is_not_plain_is_named(loop: Loop, said: str) -> None:
    assert not loop.is_plain
    assert said in loop.words
    assert loop.nccl_bytes == (NCCL_BYTES if loop.gpus > 1 else 0)


def test_what_more_gpus_hold_is_in_doubt_by_more() -> None:
    doubts = [Loop(gpus=gpus).nccl_doubt_bytes for gpus in (1, 2, 3, 8)]
    assert doubts[0] == 0 < doubts[1] < doubts[2] == doubts[3]


def test_evaluation_reads_the_configs_counts_for_testing() -> None:
    assert Loop(evaluates=True).split == "test"
