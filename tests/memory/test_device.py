import pytest

from bevdiag.errors import InputError
from bevdiag.memory.catalogue import find_gpu
from bevdiag.memory.device import make_target

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
    beside = make_target(torch="2.11.0", gpu="h200", beside_bytes=GIB)
    assert alone.capacity_bytes is not None
    assert beside.capacity_bytes == alone.capacity_bytes - GIB
    assert beside.context_bytes == alone.context_bytes + GIB


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
