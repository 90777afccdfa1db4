from bevdiag.rules.finding import Finding, Severity
from bevdiag.rules.fix import GRID, Fix, Price


def _fix(group: str) -> Fix:
    return Fix(
        id=group,
        group=group,
        price=Price.MODEL,
        title="",
        loses="",
        edits={("DATA_CONFIG", "RANGE"): (0, 0.5)},
    )


def test_the_edits_on_offer_are_those_that_make_the_grid_sound() -> None:
    found = Finding(
        code="BEV101", severity=Severity.ERROR, message="", fixes=(_fix("height"), _fix(GRID))
    )
    assert found.offered_edits == {"DATA_CONFIG.RANGE": "[0, 0.5]"}
    alone = Finding(code="BEV101", severity=Severity.ERROR, message="", fixes=(_fix("height"),))
    assert alone.offered_edits == {}
