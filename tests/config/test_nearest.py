"""The known name that a mistyped one meant."""

import pytest

from bevdiag.config.nearest import did_you_mean, nearest_names, slip_of

KNOWN = ("MeanVFE", "PillarVFE", "DynamicPillarVFE", "BaseBEVBackbone")


def test_the_nearest_comes_first_and_case_is_no_difference() -> None:
    assert nearest_names("pilarvfe", KNOWN)[0] == "PillarVFE"
    assert nearest_names("quite another", KNOWN) == ()
    assert did_you_mean("MEANVFE", KNOWN) == "; did you mean 'MeanVFE'?"
    assert did_you_mean("x", KNOWN) == ""


@pytest.mark.parametrize("name", ["MeanVEF", "MenVFE", "MeanVFEs", "meanvfe", "MeanWFF"])
def test_two_letters_at_most_are_a_slip(name: str) -> None:
    assert slip_of(name, KNOWN) == "MeanVFE"


@pytest.mark.parametrize("name", ["MeanVFEMine", "BaseBEVBackboneV2X", "VFE"])
def test_a_name_of_ones_own_is_none(name: str) -> None:
    assert slip_of(name, KNOWN) is None
