import pytest

from bevdiag.errors import InputError
from bevdiag.memory.catalogue import assumed_context, find_gpu
from bevdiag.memory.device import make_target
from bevdiag.memory.loop import NCCL_BYTES, Loop
from bevdiag.memory.profile import oom_message
from bevdiag.memory.simulate import simulate

from ..streams import make, mark, stream

GIB = 2**30


def test_a_gpu_gives_the_allocator_what_its_context_leaves() -> None:
    gpu, target = find_gpu("rtx4090"), make_target(torch="2.11.0", gpu="rtx4090")
    assert target.capacity_bytes == gpu.total_bytes - target.context_bytes
    assert target.compute_capability == (8, 9)
    assert not target.is_capped


def test_a_budget_below_the_gpu_is_a_cap_and_one_above_it_is_none() -> None:
    capped = make_target(torch="2.11.0", gpu="rtx4090", budget_bytes=10 * GIB)
    assert (capped.capacity_bytes, capped.is_capped) == (10 * GIB, True)
    roomy = make_target(torch="2.11.0", gpu="rtx4090", budget_bytes=100 * GIB)
    assert (roomy.is_capped, roomy.doubt_bytes) == (
        False,
        make_target(torch="2.11.0", gpu="rtx4090").doubt_bytes,
    )


def test_of_a_process_the_context_is_taken_off() -> None:
    target = make_target(torch="2.11.0", process_bytes=8 * GIB)
    assert target.gpu is None
    assert target.context_bytes > 0
    assert target.capacity_bytes == 8 * GIB - target.context_bytes
    assert make_target(torch="2.11.0", process_bytes=1).capacity_bytes == 1


def test_what_other_libraries_hold_is_taken_off_too() -> None:
    alone = make_target(torch="2.11.0", gpu="h200")
    beside = make_target(torch="2.11.0", gpu="h200", loop=Loop(gpus=2))
    assert alone.capacity_bytes is not None
    assert beside.capacity_bytes == alone.capacity_bytes - NCCL_BYTES
    assert beside.context_bytes == alone.context_bytes + NCCL_BYTES


def test_a_profile_is_taken_where_gpu_and_versions_match_and_left_out_on_demand() -> None:
    assert make_target(torch="2.11.0", gpu="h200").profile is not None
    assert make_target(torch="2.11.0", gpu="h200", profile="none").profile is None
    assert make_target(torch="2.11.0", gpu="rtx4090").profile is None


def test_a_profile_of_another_gpu_or_cudnn_is_refused() -> None:
    file = "configs/devices/h200-torch2.11-cudnn9.19.0.json"
    with pytest.raises(InputError, match=r"was measured on .*H200.*, not on rtx4090"):
        make_target(torch="2.11.0", gpu="rtx4090", profile=file)
    with pytest.raises(InputError, match="leave out --cudnn"):
        make_target(torch="2.11.0", cudnn="8.9.2", profile=file)


def test_the_context_of_a_gpu_that_nobody_named_is_assumed_like_that_of_any_other() -> None:
    context = assumed_context()
    for target in (
        make_target(torch="2.13.0", process_bytes=8 * GIB),
        make_target(torch="2.13.0", gpu="rtx4090"),
        make_target(torch="2.13.0", gpu="h200"),  # of this torch nobody measured it there either
    ):
        assert target.context_bytes == context.nbytes
        assert target.context_doubt_bytes == context.at_most_bytes - context.nbytes > 0
        assert target.doubt_bytes >= target.context_doubt_bytes
    assert make_target(torch="2.11.0", gpu="h200").doubt_bytes == 0


def test_what_another_torch_held_is_no_measurement_of_this_one() -> None:
    measured = make_target(torch="2.5.1", gpu="h200", cudnn="9.1.0")
    other = make_target(torch="2.6.0", gpu="h200", cudnn="9.1.0")
    assert measured.context_bytes == other.context_bytes
    assert (measured.context_doubt_bytes, other.context_doubt_bytes > 0) == (0, True)


@pytest.mark.parametrize("gpu", ["rtx4090", "rtx3090", None])
def test_what_a_process_may_take_leaves_the_context_in_doubt(gpu: str | None) -> None:
    within = make_target(torch="2.11.0", gpu=gpu, process_bytes=8 * GIB)
    assert within.doubt_bytes == within.context_doubt_bytes > 0
    # What the allocator alone may take is known, and the device gives more.
    assert make_target(torch="2.11.0", gpu=gpu, budget_bytes=6 * GIB).doubt_bytes == 0


def test_a_budget_below_the_context_leaves_nothing_and_its_message_says_so() -> None:
    target = make_target(torch="2.11.0", process_bytes=300 * 2**20)
    assert (target.capacity_bytes, target.doubt_bytes) == (1, 1)
    refusal = simulate(stream(mark(1), make(GIB)), target).refusal
    assert refusal is not None
    assert "of which 0 bytes is free" in oom_message(refusal, target)


def test_what_nccl_may_hold_beyond_what_was_measured_is_in_doubt() -> None:
    alone, two, eight = (
        make_target(torch="2.11.0", gpu="h200", loop=Loop(gpus=gpus)) for gpus in (1, 2, 8)
    )
    assert alone.doubt_bytes == 0 < two.doubt_bytes < eight.doubt_bytes
    assert eight.on(find_gpu("h200")).doubt_bytes == eight.doubt_bytes
