from typing import Any

import pytest

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.compare import compare
from bevdiag.prediction.result import CompareReport


@pytest.fixture(scope="module")
def compared(small: Any) -> CompareReport:
    return compare(small.config, small.options(), ["max", "sparse_max"], [1], ["off"], _quiet)


def _quiet(what: str, share: float) -> None:
    assert 0 <= share < 1


def test_the_base_line_comes_first_whatever_is_asked_for(compared: CompareReport) -> None:
    assert [row.compression for row in compared.variants] == ["none", "max", "sparse_max"]
    assert compared.variants[0].difference_bytes in (None, 0)


def test_differences_are_to_the_base_line(compared: CompareReport) -> None:
    base, *others = compared.variants
    for row in others:
        assert row.peak_allocated_bytes is not None
        assert base.peak_allocated_bytes is not None
        assert row.difference_bytes == row.peak_allocated_bytes - base.peak_allocated_bytes


def test_each_row_is_what_inspect_says_of_it(small: Any, compared: CompareReport) -> None:
    for row in compared.variants[:2]:
        report = small.report(compression=row.compression)
        assert row.peak_allocated_bytes == report.peak.allocated_bytes
        assert row.high_bytes == report.peak.high_bytes
        assert row.reserved_bytes == report.peak.reserved_bytes
        assert row.params == report.params.total
        assert row.bev_channels == report.bev_channels
        assert row.fitting == tuple(g.gpu for g in report.gpus if g.verdict is Verdict.FITS)


def test_reductions_make_few_channels(compared: CompareReport) -> None:
    assert [row.bev_channels for row in compared.variants] == [1280, 128, 128]


def test_the_largest_request_is_reported(small: Any) -> None:
    report = compare(
        small.config, small.options(batch_size=4, pins={small.site: 3000}), [], [], [], _quiet
    )
    (row,) = report.variants
    # The padded BEV map, 1280 channels of 22 x 42, of four samples.
    assert row.largest_request_bytes is not None
    assert row.largest_request_bytes >= 4 * 4 * 1280 * 22 * 42
    assert row.batch_size == 4


def test_scene_and_assumptions_are_those_of_the_config(small: Any, compared: CompareReport) -> None:
    assert compared.scene == small.report().scene
    assert compared.assumptions == small.report().assumptions
    assert compared.exit_code is ExitCode.FITS


def test_a_variant_that_cannot_be_built_says_why(small: Any) -> None:
    report = compare(small.config, small.options(), ["squash"], [], [], _quiet)
    base, broken = report.variants
    assert base.error == ""
    assert "squash" in broken.error
    assert broken.peak_allocated_bytes is None
    assert broken.verdict is Verdict.UNKNOWN
    assert report.exit_code is ExitCode.NO_VERDICT


def test_batch_sizes_and_precisions_are_axes(small: Any) -> None:
    report = compare(small.config, small.options(), [], [1, 2], ["off", "bf16"], _quiet)
    rows = [(row.autocast, row.batch_size) for row in report.variants]
    assert rows == [("off", 1), ("off", 2), ("bf16", 1), ("bf16", 2)]
    by_axes = {(row.autocast, row.batch_size): row.peak_allocated_bytes for row in report.variants}
    assert all(by_axes.values())
    assert by_axes["bf16", 1] < by_axes["off", 1] < by_axes["off", 2]
