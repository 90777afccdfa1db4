import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bevdiag.memory.allocator import CachingAllocator
from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category, Phase
from bevdiag.memory.profile import oom_message
from bevdiag.memory.requests import GemmWorkspace
from bevdiag.memory.simulate import (
    _reserved_bytes,
    _walks,
    fits,
    floor_bytes,
    reserved_after,
    simulate,
    walk,
)
from bevdiag.memory.simulate import run as _drive
from bevdiag.memory.sizes import format_size
from bevdiag.memory.workspaces import Bound, conv_workspace
from tests.memory.steps import GIB, MIB, UNLIMITED, workspace_stream

from ..streams import free, make, mark, stream


def budget(nbytes, **options):
    return make_target(torch="2.11.0", budget_bytes=nbytes, **options)


def test_an_empty_tensor_costs_nothing():
    assert simulate(stream(make(0), free(0)), UNLIMITED).max_reserved_bytes == 0


@pytest.mark.parametrize("moves", [(free(0),), (make(5), free(0), free(0)), (free(0), make(5))])
def test_a_stream_that_contradicts_itself_is_refused(moves):
    with pytest.raises(ValueError, match="frees block 0, which is not alive"):
        stream(*moves)


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
        "of which 58.39 GiB is free. Including non-PyTorch memory, this process has 20.75 GiB "
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
    reported = oom_message(refusal, target)
    assert figures.sub("_", reported) == figures.sub("_", seen)
    assert "139.80 GiB" in reported
    assert "79.30 GiB allowed; " in reported


def test_a_target_without_a_capacity_has_no_message(two_steps):
    refusal = simulate(two_steps, budget(100 * MIB)).refusal
    with pytest.raises(ValueError, match="capacity"):
        oom_message(refusal, UNLIMITED)


def test_the_profile_of_a_refused_run_ends_where_it_stopped(two_steps):
    profile = simulate(two_steps, budget(150 * MIB))
    assert profile.refusal.event == 5
    assert profile.refusal.allocated_bytes == profile.refusal.reserved_bytes == 140 * MIB
    assert profile.peak.allocated_bytes == profile.first_step.allocated_bytes == 140 * MIB
    assert [use.phase for use in profile.phases] == [Phase.FORWARD, Phase.BACKWARD]


def test_cudnn_does_without_a_workspace_that_does_not_fit(conv):
    call = conv("forward", (4, 128, 200, 176), 128)
    asked = workspace_stream(call, 1 * GIB)
    need = conv_workspace(call, UNLIMITED).expected
    roomy = simulate(asked, budget(2 * GIB))
    assert roomy.workspaces == {"backbone.conv": need, "backbone": need}
    tight = simulate(asked, budget(GIB + 10 * MIB))
    assert tight.refusal is None
    assert tight.peak.allocated_bytes == GIB


def test_a_64_bit_workspace_is_refused(conv):
    call = conv("forward", (1, 22400, 202, 502), 128, padding=0)
    profile = simulate(workspace_stream(call, 1 * GIB), budget(8 * GIB))
    assert format_size(profile.refusal.requested_bytes) == "8.61 GiB"


def test_growing_tensors_share_one_expandable_segment():
    sizes = enumerate((30, 50, 70, 90))
    growing = stream(*(move for i, size in sizes for move in (make(size * MIB), free(i))))
    assert simulate(growing, UNLIMITED).max_reserved_bytes == 240 * MIB
    expandable = simulate(growing, UNLIMITED, expandable_segments=True)
    assert expandable.max_reserved_bytes == 100 * MIB


SIZES = st.one_of(st.integers(0, 5000), st.integers(1, 60 * MIB))


@st.composite
def streams(draw):
    moves, live, number = [mark(1)], [], 0
    for is_free, nbytes, place in draw(
        st.lists(st.tuples(st.booleans(), SIZES, st.integers(0, 99)), max_size=40)
    ):
        if is_free and live:
            moves.append(free(live.pop(place % len(live))))
        else:
            moves.append(make(nbytes))
            live.append(number)
            number += 1
    return stream(*moves)


@settings(max_examples=60, deadline=None)
@given(run=streams(), capacity=st.integers(1, 300 * MIB))
def test_a_profile_agrees_with_itself_and_with_the_verdict(run, capacity):
    profile = simulate(run, UNLIMITED)
    floor = floor_bytes(run, UNLIMITED)
    assert floor <= profile.peak.allocated_bytes <= profile.max_reserved_bytes
    assert sum(profile.by_category.values()) == profile.peak.allocated_bytes
    assert (profile.timeline.allocated <= profile.timeline.reserved).all()
    target = budget(capacity)
    limited = simulate(run, target)
    assert fits(run, target) == (limited.refusal is None)
    assert limited.max_reserved_bytes <= capacity
    if limited.refusal is not None:
        refusal = limited.refusal
        assert refusal.reserved_bytes + refusal.requested_bytes > capacity


@st.composite
def passing_requests(draw):
    """A stream of plain blocks and two requests, freed at once or later, and what they come to."""
    moves, live, made = [mark(1)], [], 0
    for _ in range(draw(st.integers(5, 25))):
        kind = draw(st.sampled_from(["block", "passing", "request", "end"]))
        if kind == "end" and live:
            moves.append(free(live.pop(draw(st.integers(0, len(live) - 1)))))
        elif kind == "block":
            moves.append(make(draw(st.integers(1, 30 * MIB))))
            live.append(made)
            made += 1
        elif kind != "end":
            moves.append(make(0, request=GemmWorkspace(draw(st.sampled_from("ab")))))
            if kind == "passing":
                moves.append(free(made))
            else:
                live.append(made)
            made += 1
    sizes = st.sampled_from([0, 512, 700, MIB, 3 * MIB, 9 * MIB, 10 * MIB, 25 * MIB])
    asked = st.tuples(sizes, sizes).map(lambda pair: tuple((size, False) for size in pair))
    return stream(*moves), draw(st.lists(asked, min_size=2, max_size=8))


@settings(max_examples=200, deadline=None)
@given(passing_requests())
def test_targets_that_share_a_walk_reserve_what_their_own_would(drawn):
    run, every = drawn
    for asked in every:
        own = asked[: len(run.requests)]
        alone = _drive(run, own, CachingAllocator())
        assert _reserved_bytes(run, own) == alone.max_reserved_bytes


def test_workspaces_that_find_room_share_a_walk():
    run = stream(make(40 * MIB), free(0), make(0, request=GemmWorkspace("a")), free(1))
    for nbytes in (0, 700, 3 * MIB, 40 * MIB):
        _reserved_bytes(run, ((nbytes, False),))
    small, large = _walks(run)
    assert len(small) == 2  # there is no small segment for 700 bytes
    assert len(large) == 1


def three_rounds(call):
    moves = [mark(1), make(0, request=GemmWorkspace("main"))]
    for first in (1, 5, 9):
        moves += [make((3 + first // 4) * MIB), make(700), make(0), make(0, request=call)]
        moves += [free(first), free(first + 3), free(first + 2)]
    return stream(*moves)


def test_what_cudnn_can_do_without_is_no_part_of_the_floor(conv):
    call = conv("wgrad", (2, 128, 200, 176), 128)
    target = make_target(torch="2.11.0", gpu="h200")
    workspace = conv_workspace(call, target)
    assert workspace.is_optional
    assert workspace.expected > 0
    # The last round's block beside the three small ones that stay, and cuBLAS's workspace.
    assert floor_bytes(three_rounds(call), target) == (5 + 32) * MIB + 3 * 1024


def test_chips_that_ask_for_the_same_share_a_walk(conv):
    run = three_rounds(conv("wgrad", (2, 128, 200, 176), 128))
    small, large, other = (
        make_target(torch="2.11.0", gpu=gpu) for gpu in ("a100-40gb", "a100-80gb", "h200")
    )
    first = walk(run, small, until_oom=False, bound=Bound.HIGH)
    assert walk(run, large, until_oom=False, bound=Bound.HIGH) is first
    assert walk(run, other, until_oom=False, bound=Bound.HIGH) is not first


def _evaluation(nbytes):
    """A model of 40 MiB, which is there after training; a batch of 4 and a map of `nbytes`."""
    return stream(
        make(40 * MIB, category=Category.PARAMETER),
        make(4 * MIB, category=Category.INPUT),
        mark(1),
        make(nbytes, "backbone.conv"),
        free(2),
    )


@pytest.mark.parametrize(("wanted", "grows"), [(90, 0), (160, 160)])
def test_what_follows_a_run_is_served_from_its_cache(two_steps, wanted, grows):
    trained = walk(two_steps, UNLIMITED).max_reserved_bytes
    # The batch fits beside the map in a freed segment of 100 MiB.
    found = reserved_after(two_steps, _evaluation(wanted * MIB), UNLIMITED)
    assert found == trained + grows * MIB


def test_what_the_second_run_loads_is_there_already(two_steps):
    trained = walk(two_steps, UNLIMITED).max_reserved_bytes
    assert reserved_after(two_steps, _evaluation(2 * MIB), UNLIMITED) == trained
