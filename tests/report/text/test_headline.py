from dataclasses import replace

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import SCENE_SITE, Prediction
from bevdiag.report.amounts import format_bytes
from bevdiag.report.printable import Layout
from bevdiag.report.text.headline import verdict_sentence, write_opening, write_reasons

from .conftest import written


def _text(report: Prediction) -> str:
    return "\n".join(
        line
        for write in (write_opening, write_reasons)
        for line in written(write, report, layout=Layout(200))
    )


def test_over_names_the_module_and_the_request(over: Prediction) -> None:
    assert verdict_sentence(over) == (
        "Does not fit A100-80GB (79.25 GiB usable): the step stops in backbone_2d.blocks.0.1 "
        "asking for 75.10 GiB."
    )
    assert "CUDA out of memory. Tried to allocate 75.10 GiB." in _text(over)


def test_fits_speaks_of_the_upper_end(over: Prediction) -> None:
    peak = replace(over.peak, reserved_bytes=2**30, high_reserved_bytes=3 * 2**30)
    fits = replace(over, verdict=Verdict.FITS, oom=None, peak=peak)
    assert verdict_sentence(fits).endswith("at most 3.00 GiB are reserved.")


def test_depends_tells_the_range(over: Prediction) -> None:
    sentence = verdict_sentence(replace(over, verdict=Verdict.DEPENDS, oom=None))
    assert "between 41.35 GiB and 74.80 GiB" in sentence


def test_what_must_be_reserved_is_named_where_it_alone_may_not_fit(over: Prediction) -> None:
    depends = replace(over, verdict=Verdict.DEPENDS, oom=None)
    assert f"up to {format_bytes(over.peak.high_reserved_bytes)} reserved" in verdict_sentence(
        replace(depends, target=replace(over.target, capacity_bytes=over.peak.high_bytes))
    )
    assert "reserved" not in verdict_sentence(
        replace(depends, target=replace(over.target, capacity_bytes=over.peak.high_bytes - 1))
    )


def test_where_only_the_upper_end_stops_it_says_so(over: Prediction) -> None:
    text = _text(replace(over, verdict=Verdict.DEPENDS))
    assert "At the upper end it stops in backbone_2d.blocks.0.1, in the forward pass" in text


def test_a_budget_without_a_gpu_is_named_by_its_size(over: Prediction) -> None:
    target = replace(over.target, gpu=None, capacity_bytes=22 * 2**30)
    assert "the budget (22.00 GiB usable)" in verdict_sentence(replace(over, target=target))


def test_without_a_budget_the_reader_learns_how_to_name_one(measured: Prediction) -> None:
    assert "--gpu NAME or --budget SIZE" in verdict_sentence(measured)


def test_errors_are_named_at_once(over: Prediction) -> None:
    text = _text(over)
    assert "BEV203: Flattening the height makes 22,400 channels" in text
    assert "BEV502" not in text


def test_unknown_is_no_verdict(over: Prediction) -> None:
    sentence = verdict_sentence(replace(over, verdict=Verdict.UNKNOWN, oom=None))
    assert sentence.startswith("No verdict")


def test_the_first_single_remedy_that_fits_is_named(over: Prediction) -> None:
    assert "(sparse_max) it fits, at a peak of 53.90 GiB" in _text(over)


def test_when_nothing_helps_it_says_so(over: Prediction) -> None:
    text = _text(replace(over, recommended=None))
    count = sum(not plan.error and not plan.unsafe for plan in over.remedies)
    assert 1 < count < len(over.remedies)
    assert f"No set of changes that was traced, of {count}, makes it fit." in text
    in_vain = tuple(replace(plan, error="it cannot run") for plan in over.remedies[1:])
    text = _text(replace(over, recommended=None, remedies=(over.remedies[0], *in_vain)))
    assert "that was traced, of 1, makes it fit." in text


def test_a_step_that_fits_by_giving_cached_memory_back_says_so(over: Prediction) -> None:
    capacity = over.peak.high_bytes
    target = replace(over.target, capacity_bytes=capacity)
    sentence = verdict_sentence(replace(over, verdict=Verdict.FITS, oom=None, target=target))
    assert "74.80 GiB are allocated at the peak" in sentence
    assert "give some back" in sentence
    roomy = replace(over.target, capacity_bytes=over.peak.high_reserved_bytes)
    sentence = verdict_sentence(replace(over, verdict=Verdict.FITS, oom=None, target=roomy))
    assert sentence.endswith("95.50 GiB are reserved.")


def test_what_cudnn_does_without_is_not_said_to_fit(over: Prediction) -> None:
    target = replace(over.target, capacity_bytes=over.peak.high_bytes - 1)
    sentence = verdict_sentence(replace(over, verdict=Verdict.FITS, oom=None, target=target))
    assert "cuDNN does without the workspaces that do not fit; with them at most 74.80" in sentence


def test_the_widest_count_says_what_the_range_depends_on(over: Prediction) -> None:
    (kept,) = over.assumptions
    scene = replace(kept, site=SCENE_SITE, low=10, high=11)
    unjudged = replace(over, verdict=Verdict.NO_BUDGET, oom=None, assumptions=(scene, kept))
    assert "depending on values" in verdict_sentence(unjudged)
    wider = replace(scene, high=10 * kept.high)
    assert "depending on the scene" in verdict_sentence(
        replace(unjudged, assumptions=(wider, kept))
    )
    same = replace(kept, low=kept.high)
    assert "kernels that cuDNN picks" in verdict_sentence(replace(unjudged, assumptions=(same,)))


def test_what_is_only_assumed_of_the_gpu_is_why_it_may_not_fit(over: Prediction) -> None:
    peak = replace(over.peak, high_reserved_bytes=77 * 2**30)
    target = replace(over.target, doubt_bytes=2**30)
    report = replace(over, verdict=Verdict.DEPENDS, oom=None, peak=peak, target=target)
    assert "1.00 GiB of the GPU are only assumed" in verdict_sentence(report)
