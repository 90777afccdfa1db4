from pathlib import Path

import pytest

from bevdiag.config.load import read_document
from bevdiag.errors import Location
from bevdiag.rules.codes import CODES, finding, rule_of


@pytest.mark.parametrize("code", CODES)
def test_every_rule_has_its_function_and_its_fixes_where_it_says_so(code: str) -> None:
    row = CODES[code]
    if row.module != "silencing" and code != "BEV311":
        assert callable(rule_of(row))
    if row.has_fixes:
        assert callable(rule_of(row, "_fixes")) or row.function == "over_budget"


def test_a_finding_stands_where_its_key_is_written(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("MODEL:\n  NAME: X\n")
    found = finding("BEV008", "unknown", document=read_document(file), key="MODEL.NAME")
    assert found.location == Location(file, 2, 3)
    assert (found.severity, found.stops) == (CODES["BEV008"].severity, True)
    assert not finding("BEV008", "unknown", stops=False).stops
