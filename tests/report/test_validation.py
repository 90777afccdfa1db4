import json
from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.accuracy.outcome import MeasuredOn, MeasuredRow, Outcome, Validation
from bevdiag.report.as_json import as_json
from bevdiag.report.printable import Layout
from bevdiag.report.text.prose import rendered
from bevdiag.report.validation import (
    validation_markdown,
    write_validation,
)


def row(name: str) -> MeasuredRow:
    return MeasuredRow(
        name=name,
        config=Path("a.yaml"),
        scene="lidar",
        points_per_sample=10,
        batch_size=2,
        autocast="off",
        compression=None,
        overrides=(),
        pins={},
        first_step_bytes=None,
        cudnn=None,
        params=100,
        peak_allocated_bytes=1000 * 2**20,
        max_reserved_bytes=2000 * 2**20,
    )


VALIDATION = Validation(
    machine=MeasuredOn(),
    outcomes=(
        Outcome(
            row=row("one"),
            params=100,
            allocated_bytes=1010 * 2**20,
            low_bytes=990 * 2**20,
            high_bytes=1100 * 2**20,
            reserved_bytes=1900 * 2**20,
        ),
        Outcome(
            row=row("two"),
            params=99,
            allocated_bytes=970 * 2**20,
            low_bytes=970 * 2**20,
            high_bytes=980 * 2**20,
            reserved_bytes=2000 * 2**20,
        ),
        Outcome(row=row("[red]three\x1b[0m"), error="not modelled"),
    ),
)


def test_text_gives_each_row_its_signed_error_and_the_summary() -> None:
    text = rendered(Layout(width=200), write_validation, VALIDATION)
    one, two = text.splitlines()[1:3]
    assert "+1.00 %" in one
    assert "-5.00 %" in one
    assert "yes" in one
    assert "exact" in one
    assert "-3.00 %" in two
    assert "NO" in two
    assert "99 not 100" in two
    assert "2 of 3 rows predicted" in text
    assert "median |error| 2.00 %, largest 3.00 %; reserved: largest 5.00 %" in text
    assert "under the truth: 1 of 2" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_screen_and_none_loses_its_error(width: int) -> None:
    lines = rendered(Layout(width=width), write_validation, VALIDATION).splitlines()
    assert max(map(len, lines)) <= width
    assert "+1.00 %" in lines[1]
    assert "-3.00 %" in lines[2]


def test_rows_that_lack_a_prediction_for_one_reason_share_a_line() -> None:
    missing = tuple(Outcome(row=row(f"r{i}"), error="no config") for i in range(9))
    few = Validation(machine=MeasuredOn(), outcomes=missing[:2])
    many = Validation(machine=MeasuredOn(), outcomes=missing)
    assert "not predicted: r0, r1: no config" in rendered(Layout(), write_validation, few)
    assert "not predicted: 9 rows: no config" in rendered(Layout(), write_validation, many)


def test_counts_known_in_the_first_step_alone_are_told_apart_and_excuse_nothing() -> None:
    unsettled = replace(row("four"), first_step_bytes=800 * 2**20, pins={"site": 3})
    outcome = Outcome(
        row=unsettled,
        params=100,
        allocated_bytes=900 * 2**20,
        high_bytes=1100 * 2**20,
        reserved_bytes=1000 * 2**20,
        first_step_bytes=804 * 2**20,
        is_unsettled=True,
    )
    both = Validation(machine=MeasuredOn(), outcomes=(*VALIDATION.outcomes, outcome))
    assert both.max_error == pytest.approx(0.1)
    assert "largest above 3%" in both.misses
    text = rendered(Layout(width=240), write_validation, both)
    assert "counts known in the first step alone (1 rows)" in text
    assert "largest |error| 0.50 %; peak of the later steps" in text
    assert "kept the same: largest 10.00 %" in text


def test_markdown_has_a_row_for_each_prediction() -> None:
    lines = validation_markdown(VALIDATION).splitlines()
    assert sum(line.startswith("| ") for line in lines) == 3
    assert all(line.count("|") == lines[0].count("|") for line in lines if line.startswith("| "))


def test_json_says_null_where_there_is_no_prediction() -> None:
    document = json.loads(as_json(VALIDATION))
    assert document["schema"] == "bevdiag.validate/1"
    assert document["num_covered"] == 1
    assert [r["covered"] for r in document["rows"]] == [True, False, None]
    assert document["rows"][2]["allocated_error"] is None
    assert document["rows"][2]["error"] == "not modelled"


def test_rows_of_the_first_step_alone_have_no_median() -> None:
    (outcome, *_) = VALIDATION.outcomes
    first_step = replace(outcome.row, first_step_bytes=1000 * 2**20)
    alone = replace(outcome, row=first_step, first_step_bytes=1020 * 2**20, is_unsettled=True)
    text = validation_markdown(replace(VALIDATION, outcomes=(alone,)))
    assert "counts known in every step" not in text
    assert "its peak: largest |error| 2.00 %; peak of the later" in text
