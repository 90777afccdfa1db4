"""Event streams with known answers."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bevdiag.memory.device import make_target
from bevdiag.memory.events import (
    Alloc,
    Category,
    EventStream,
    Free,
    GemmWorkspace,
    Mark,
    Phase,
)
from bevdiag.memory.oom import format_size, oom_message
from bevdiag.memory.simulate import fits, simulate
from bevdiag.memory.workspaces import Bound, conv_workspace

MIB, GIB = 2**20, 2**30
UNLIMITED = make_target(torch="2.11.0")


def alloc(block, nbytes, *, module="backbone.conv", category=Category.ACTIVATION, request=None):
    # Step and phase of an allocation repeat those of the mark before it; totals go by the mark.
    return Alloc(block, nbytes, category, Phase.FORWARD, 1, module, "aten::empty", request=request)


def budget(nbytes, **options):
    return make_target(torch="2.11.0", budget_bytes=nbytes, **options)


@pytest.fixture
def two_steps():
    """A parameter of 40 MiB; each step adds 100 and 60 MiB; the second keeps 30 MiB of state."""
    return EventStream(
        events=(
            alloc(1, 40 * MIB, module="backbone", category=Category.PARAMETER),
            Mark(1, Phase.FORWARD),
            alloc(2, 100 * MIB),
            Mark(1, Phase.BACKWARD),
            alloc(3, 60 * MIB, category=Category.GRADIENT),
            Free(2),
            Mark(1, Phase.OPTIMIZER),
            alloc(4, 30 * MIB, module="", category=Category.OPTIMIZER_STATE),
            Free(3),
            Mark(2, Phase.FORWARD),
            alloc(5, 100 * MIB, module="backbone.conv"),
            alloc(6, 20 * MIB, module="backbone.norm"),
            Free(6),
            Mark(2, Phase.BACKWARD),
            alloc(7, 60 * MIB, module="backbone.conv", category=Category.GRADIENT),
            Free(5),
            Mark(2, Phase.OPTIMIZER),
            Free(7),
        ),
        num_steps=2,
    )


def test_peaks_of_the_first_and_of_later_steps_are_apart(two_steps):
    profile = simulate(two_steps, UNLIMITED)
    assert profile.resident_bytes == 40 * MIB
    assert profile.first_step.allocated_bytes == 200 * MIB
    peak = profile.peak
    assert peak.allocated_bytes == 230 * MIB
    assert (peak.event, peak.step, peak.phase) == (14, 2, Phase.BACKWARD)
    assert (peak.module, peak.op) == ("backbone.conv", "aten::empty")
    # 30 MiB of state went into the 100 MiB segment that block 2 left, so block 5 needs a new one.
    assert profile.peak_reserved_bytes == profile.max_reserved_bytes == 300 * MIB


def test_what_is_alive_at_the_peak_is_listed_largest_first(two_steps):
    profile = simulate(two_steps, UNLIMITED)
    assert [holder.alloc.block for holder in profile.holders] == [5, 7, 1, 4]
    assert sum(holder.nbytes for holder in profile.holders) == profile.peak.allocated_bytes
    assert list(profile.by_category.items()) == [
        (Category.ACTIVATION, 100 * MIB),
        (Category.GRADIENT, 60 * MIB),
        (Category.PARAMETER, 40 * MIB),
        (Category.OPTIMIZER_STATE, 30 * MIB),
    ]


def test_phases_and_timeline_are_those_of_the_last_step(two_steps):
    profile = simulate(two_steps, UNLIMITED)
    assert [
        (use.phase, use.peak_allocated_bytes // MIB, use.allocated_after_bytes // MIB)
        for use in profile.phases
    ] == [(Phase.FORWARD, 190, 170), (Phase.BACKWARD, 230, 130), (Phase.OPTIMIZER, 130, 70)]
    assert [sample.event for sample in profile.timeline] == list(range(9, 18))
    assert profile.timeline[-1].allocated_bytes == 70 * MIB


def test_a_modules_peak_covers_the_modules_inside_it(two_steps):
    peaks = simulate(two_steps, UNLIMITED).module_peaks
    assert {name: peak // MIB for name, peak in peaks.items()} == {
        "backbone.conv": 230,
        "backbone.norm": 190,
        "backbone": 230,
    }


def test_an_empty_stream_costs_nothing():
    profile = simulate(EventStream((), 0), UNLIMITED)
    assert profile.peak.allocated_bytes == profile.max_reserved_bytes == 0
    assert (profile.holders, profile.first_step, profile.largest_request) == ((), None, None)


def test_an_empty_tensor_costs_nothing():
    stream = EventStream((alloc(1, 0), Free(1)), 0)
    assert simulate(stream, UNLIMITED).max_reserved_bytes == 0


@pytest.mark.parametrize(
    "events", [(Free(1),), (alloc(1, 5), Free(1), Free(1)), (alloc(1, 5), alloc(1, 5))]
)
def test_a_stream_that_contradicts_itself_is_refused(events):
    with pytest.raises(ValueError, match="alive"):
        simulate(EventStream(events, 0), UNLIMITED)


def test_what_is_not_modelled_is_passed_on():
    stream = EventStream((), 0, unmodelled=("custom::op",))
    assert simulate(stream, UNLIMITED).unmodelled == ("custom::op",)


@pytest.mark.parametrize(
    ("gpu", "torch", "nbytes"),
    [
        ("h200", "2.6.0", 33_554_432),
        ("a10g", "2.13.0", 8_519_680),
        ("b200", "2.11.0", 8_519_680),
        ("b200", "2.13.0", 33_554_432),
    ],
)
def test_each_thread_has_a_cublas_workspace(gpu, torch, nbytes):
    request = GemmWorkspace("main")
    stream = EventStream((alloc(1, 0, category=Category.WORKSPACE, request=request),), 0)
    profile = simulate(stream, make_target(torch=torch, gpu=gpu))
    # The block of 8.125 MiB is split from a segment of 20 MiB; that of 32 MiB fills its own.
    assert profile.peak.allocated_bytes == nbytes
    assert profile.workspaces == {}


def workspace_stream(call, resident):
    request = alloc(2, 0, category=Category.WORKSPACE, request=call)
    return EventStream((alloc(1, resident), Mark(1, Phase.FORWARD), request, Free(2)), 1)


def test_the_reports_out_of_memory_on_80_gb_with_an_old_cudnn(conv):
    call = conv("forward", (1, 22400, 202, 502), 128, padding=0)
    target = make_target(torch="2.13.0", gpu="a100-80gb", cudnn="9.1")
    refusal = simulate(workspace_stream(call, 20 * GIB), target).refusal
    assert refusal.nbytes == 80_640_000_000
    assert refusal.requested_bytes == 80_641_785_856
    assert format_size(refusal.requested_bytes) == "75.10 GiB"
    assert refusal.alloc.module == "backbone.conv"
    assert oom_message(refusal, target) == (
        "CUDA out of memory. Tried to allocate 75.10 GiB. GPU 0 has a total capacity of 79.14 GiB "
        "of which 58.54 GiB is free. Including non-PyTorch memory, this process has 20.60 GiB "
        "memory in use. Of the allocated memory 20.00 GiB is allocated by PyTorch, and 0 bytes is "
        "reserved by PyTorch but unallocated."
    )


def test_the_message_has_the_words_of_a_measured_one(conv):
    seen = (
        "CUDA out of memory. Tried to allocate 75.10 GiB. GPU 0 has a total capacity of 139.80 "
        "GiB of which 74.32 GiB is free. Including non-PyTorch memory, this process has 65.47 GiB "
        "memory in use. 79.30 GiB allowed; Of the allocated memory 62.94 GiB is allocated by "
        "PyTorch, and 1.86 GiB is reserved by PyTorch but unallocated."
    )
    call = conv("forward", (1, 22400, 202, 502), 128, padding=0)
    target = make_target(torch="2.11.0", gpu="h200", cudnn="9.1", budget_bytes=int(79.3 * GIB))
    refusal = simulate(workspace_stream(call, 60 * GIB), target).refusal
    figures = re.compile(r"\d+(\.\d+)? (GiB|MiB|bytes)")
    told = oom_message(refusal, target)
    assert figures.sub("_", told) == figures.sub("_", seen)
    assert "139.80 GiB" in told
    assert "79.30 GiB allowed; " in told


def test_a_target_without_a_capacity_has_no_message(two_steps):
    refusal = simulate(two_steps, budget(100 * MIB)).refusal
    with pytest.raises(ValueError, match="capacity"):
        oom_message(refusal, UNLIMITED)


def test_the_profile_of_a_refused_run_ends_where_it_stopped(two_steps):
    profile = simulate(two_steps, budget(150 * MIB))
    assert profile.refusal.event == 4
    assert profile.refusal.allocated_bytes == profile.refusal.reserved_bytes == 140 * MIB
    assert profile.peak.allocated_bytes == profile.first_step.allocated_bytes == 140 * MIB
    assert [use.phase for use in profile.phases] == [Phase.FORWARD, Phase.BACKWARD]


def test_cudnn_does_without_a_workspace_that_does_not_fit(conv):
    call = conv("forward", (4, 128, 200, 176), 128)
    stream = workspace_stream(call, 1 * GIB)
    need = conv_workspace(call, UNLIMITED).expected
    roomy = simulate(stream, budget(2 * GIB))
    assert roomy.workspaces == {"backbone.conv": need, "backbone": need}
    tight = simulate(stream, budget(GIB + 10 * MIB))
    assert tight.refusal is None
    assert tight.peak.allocated_bytes == GIB


def test_a_64_bit_workspace_is_refused(conv):
    call = conv("forward", (1, 22400, 202, 502), 128, padding=0)
    profile = simulate(workspace_stream(call, 1 * GIB), budget(8 * GIB))
    assert format_size(profile.refusal.requested_bytes) == "8.61 GiB"


def test_the_end_of_the_interval_can_be_chosen(conv):
    stream = workspace_stream(conv("forward", (4, 128, 200, 176), 128), 1 * GIB)
    peaks = [
        simulate(
            stream, make_target(torch="2.11.0", profile="none"), bound=bound
        ).peak.allocated_bytes
        for bound in (Bound.LOW, Bound.EXPECTED, Bound.HIGH)
    ]
    assert peaks == sorted(set(peaks))


def test_growing_tensors_share_one_expandable_segment():
    sizes = enumerate((30, 50, 70, 90))
    events = [event for i, size in sizes for event in (alloc(i, size * MIB), Free(i))]
    stream = EventStream(tuple(events), 0)
    assert simulate(stream, UNLIMITED).max_reserved_bytes == 240 * MIB
    expandable = simulate(stream, UNLIMITED, expandable_segments=True)
    assert expandable.max_reserved_bytes == 100 * MIB


SIZES = st.one_of(st.integers(0, 5000), st.integers(1, 60 * MIB))


@st.composite
def streams(draw):
    events, live, number = [Mark(1, Phase.FORWARD)], [], 0
    for is_free, nbytes, place in draw(
        st.lists(st.tuples(st.booleans(), SIZES, st.integers(0, 99)), max_size=40)
    ):
        if is_free and live:
            events.append(Free(live.pop(place % len(live))))
        else:
            number += 1
            live.append(number)
            events.append(alloc(number, nbytes))
    return EventStream(tuple(events), 1)


@settings(max_examples=60, deadline=None)
@given(stream=streams(), capacity=st.integers(1, 300 * MIB))
def test_a_profile_agrees_with_itself_and_with_the_verdict(stream, capacity):
    profile = simulate(stream, UNLIMITED)
    assert profile.floor_bytes <= profile.peak.allocated_bytes <= profile.max_reserved_bytes
    assert sum(profile.by_category.values()) == profile.peak.allocated_bytes
    for sample in profile.timeline:
        assert sample.allocated_bytes <= sample.reserved_bytes
    target = budget(capacity)
    limited = simulate(stream, target)
    assert fits(stream, target, profile) == (limited.refusal is None)
    assert limited.max_reserved_bytes <= capacity
    if limited.refusal is not None:
        refusal = limited.refusal
        assert refusal.reserved_bytes + refusal.requested_bytes > capacity
