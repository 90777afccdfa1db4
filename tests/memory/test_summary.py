from dataclasses import replace

from bevdiag.memory.events import Category, Phase
from bevdiag.memory.simulate import simulate
from tests.memory.steps import MIB, UNLIMITED

from ..streams import stream


def test_peaks_of_the_first_and_of_later_steps_are_apart(two_steps):
    profile = simulate(two_steps, UNLIMITED)
    assert profile.first_step.allocated_bytes == 200 * MIB
    peak = profile.peak
    assert peak.allocated_bytes == 230 * MIB
    assert (peak.event, peak.step, peak.phase) == (15, 2, Phase.BACKWARD)
    assert (peak.module, peak.op) == ("backbone.conv", "aten::empty")
    # 30 MiB of state went into the 100 MiB segment that block 1 left, so block 4 needs a new one.
    assert profile.peak_reserved_bytes == profile.max_reserved_bytes == 300 * MIB


def test_what_is_alive_at_the_peak_is_listed_largest_first(two_steps):
    profile = simulate(two_steps, UNLIMITED)
    assert [holder.alloc.block for holder in profile.holders] == [4, 6, 0, 3]
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
    assert (profile.timeline.start, len(profile.timeline.allocated)) == (10, 9)
    assert profile.timeline.allocated[-1] == 70 * MIB


def test_a_modules_peak_covers_the_modules_inside_it(two_steps):
    peaks = simulate(two_steps, UNLIMITED).module_peaks
    assert {name: peak // MIB for name, peak in peaks.items()} == {
        "backbone.conv": 230,
        "backbone.norm": 190,
        "backbone": 230,
    }


def test_an_empty_stream_costs_nothing():
    profile = simulate(stream(), UNLIMITED)
    assert profile.peak.allocated_bytes == profile.max_reserved_bytes == 0
    assert (profile.holders, profile.first_step, profile.largest_request) == ((), None, None)


def test_what_is_not_modelled_is_passed_on():
    unknown = replace(stream(), unmodelled=("custom::op",))
    assert simulate(unknown, UNLIMITED).unmodelled == ("custom::op",)
