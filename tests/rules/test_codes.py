import pytest

from bevdiag.rules.codes import CODES, finding, rule_of
from bevdiag.rules.finding import Severity


@pytest.mark.parametrize("code", CODES)
def test_every_rule_has_its_function_and_its_fixes_where_it_says_so(code: str) -> None:
    row = CODES[code]
    if row.module != "silencing" and code != "BEV311":
        assert callable(rule_of(row))
    if row.has_fixes:
        assert callable(rule_of(row, "_fixes")) or row.function == "over_budget"


def test_a_finding_has_what_its_code_says_unless_it_is_given_another() -> None:
    found = finding("BEV008", "unknown", key="MODEL.NAME")
    assert (found.key, found.severity, found.stops) == (
        "MODEL.NAME",
        CODES["BEV008"].severity,
        True,
    )
    assert not finding("BEV008", "unknown", stops=False).stops
    assert finding("BEV008", "x", severity=Severity.INFO).severity is Severity.INFO
