from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from bevdiag.prediction.result import CompareReport
from bevdiag.report.layout import Layout
from bevdiag.report.text.compare_report import render_compare


@pytest.mark.parametrize("width", [80, 120])
def test_golden(compared: CompareReport, golden: Callable[[str, str], None], width: int) -> None:
    golden(f"compare_{width}.txt", render_compare(compared, Layout(width)))


def test_only_what_varies_is_in_the_label(compared: CompareReport) -> None:
    alike = replace(compared, variants=compared.variants[:2])
    assert "batch" not in render_compare(alike, Layout()).split("peak:")[0]
    half = replace(compared.variants[1], autocast="bf16")
    assert "max, bf16" in render_compare(replace(alike, variants=(half,)), Layout())


def test_without_a_budget_no_variant_is_judged(compared: CompareReport) -> None:
    target = replace(compared.target, capacity_bytes=None)
    text = render_compare(replace(compared, target=target), Layout())
    assert "verdict" not in text
    assert "fits             H200, B200" in text


def test_every_axis_fits_80_columns(compared: CompareReport) -> None:
    variants = tuple(
        replace(item, compression="sparse_mean", autocast="bf16") for item in compared.variants
    )
    text = render_compare(replace(compared, variants=variants), Layout(80))
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "reserved" in text
