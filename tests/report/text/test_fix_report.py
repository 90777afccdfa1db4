import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from bevdiag.memory.verdict import Verdict
from bevdiag.remedies.results import FixReport
from bevdiag.report.as_json import as_json
from bevdiag.report.printable import Layout
from bevdiag.report.text.fix_report import outcome, write_fix
from bevdiag.report.text.prose import rendered

Golden = Callable[[str, str], None]


@pytest.mark.parametrize("width", [80, 120])
def test_golden(fixed: FixReport, golden: Golden, width: int) -> None:
    text = rendered(Layout(width), write_fix, fixed)
    golden(f"fix_{width}.txt", text)
    assert max(map(cell_len, text.splitlines())) <= width


def test_golden_json(fixed: FixReport, golden: Golden) -> None:
    golden("fix.json", as_json(fixed))


def test_nothing_fits(hopeless: FixReport) -> None:
    text = outcome(hopeless)
    assert "No set of changes that was traced, of 3, fits" in text
    assert "compression-sparse_max+dsvt-checkpoint: 30.00 GiB at most" in text
    assert "--unsafe" in text
    assert "--unsafe" not in outcome(replace(hopeless, unsafe_allowed=True))
    assert json.loads(as_json(hopeless))["chosen"] is None
    assert "Edits" not in rendered(Layout(), write_fix, hopeless)


def test_nothing_to_do(fixed: FixReport) -> None:
    fits = replace(fixed, base=replace(fixed.base, verdict=Verdict.FITS), chosen=None, singles=())
    assert "nothing to change" in outcome(fits)


def test_what_became_of_the_file(fixed: FixReport) -> None:
    assert "inspected again" in outcome(replace(fixed, written=True))
    assert "Not written: an alias" in outcome(replace(fixed, refusal="an alias"))


def test_a_line_of_the_diff_is_never_folded(fixed: FixReport) -> None:
    long = f"+  KEYS: [{', '.join(map(str, range(80)))}]"
    text = rendered(Layout(80), write_fix, replace(fixed, diff=f"--- a/x\n+++ b/x\n{long}\n"))
    assert f"  {long}\n" in text
