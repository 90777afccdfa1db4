from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from bevdiag.prediction.result import CompareReport
from bevdiag.report.printable import Layout
from bevdiag.report.text.compare_report import write_compare
from bevdiag.report.text.prose import rendered


@pytest.mark.parametrize("width", [80, 120])
def test_golden(compared: CompareReport, golden: Callable[[str, str], None], width: int) -> None:
    golden(f"compare_{width}.txt", rendered(Layout(width), write_compare, compared))


def test_only_what_varies_is_in_the_label(compared: CompareReport) -> None:
    alike = replace(compared, variants=compared.variants[:2])
    assert "batch" not in rendered(Layout(), write_compare, alike).split("peak:")[0]
    half = replace(compared.variants[1], autocast="bf16")
    assert "max, bf16" in rendered(Layout(), write_compare, replace(alike, variants=(half,)))


def test_without_a_budget_no_variant_is_judged(compared: CompareReport) -> None:
    target = replace(compared.target, capacity_bytes=None)
    text = rendered(Layout(), write_compare, replace(compared, target=target))
    assert "verdict" not in text
    assert "fits             H200, B200" in text


def test_every_axis_fits_80_columns(compared: CompareReport) -> None:
    variants = tuple(
        replace(item, compression="sparse_mean", autocast="bf16") for item in compared.variants
    )
    text = rendered(Layout(80), write_compare, replace(compared, variants=variants))
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "reserved" in text
