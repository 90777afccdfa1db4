"""The sets that `bevdiag fix` chooses for the shipped model, as an H200 ran them."""

import json
from pathlib import Path
from typing import Any

import pytest

from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.remedies.sets import apply_set

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / "tests" / "data" / "remedies_h200.json").read_text())
ROWS = {row["id"]: row for row in MEASURED["rows"]}


@pytest.fixture(scope="module")
def source() -> BuiltIn:
    return BuiltIn.read(ROOT / "configs" / "focalsst_dsvt.yaml", InspectOptions(device="meta"))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_set_ran_within_the_smaller_card_and_the_stated_upper_end(row: dict[str, Any]) -> None:
    assert row["oom_message"] is None
    assert row["failure"] is None
    assert row["measured_reserved_bytes"] <= row["budget_bytes"]
    assert row["measured_peak_bytes"] <= row["high_bytes"] <= row["budget_bytes"]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_todays_edits_are_those_that_were_measured(row: dict[str, Any], source: BuiltIn) -> None:
    edits = apply_set(source, tuple(row["id"].split("+")))[0].edits
    assert {".".join(path) for path in edits} == set(row["edits"])


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_page_shows_what_was_measured(row: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "remedies.md").read_text()
    name = row["id"].replace("+", " + ")
    line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
    for key in ("budget_bytes", "predicted_peak_bytes", "measured_peak_bytes"):
        assert f" {row[key] / 2**30:.2f} GiB " in line
