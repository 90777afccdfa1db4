import pytest

from bevdiag.errors import InputError
from bevdiag.trace.pins import Pins

SITES = ("a.kept_voxels", "b.kept_voxels")


def test_without_pins_no_step_differs() -> None:
    pins = Pins.read({}, SITES)
    assert pins.each_step() == [{}]


def test_a_count_holds_until_the_next() -> None:
    pins = Pins.read({"a.kept_voxels@3": 7, "a.kept_voxels": 5, "b.kept_voxels@1": 2}, SITES)
    first = {"a.kept_voxels": 5, "b.kept_voxels": 2}
    assert pins.each_step() == [first, first, {**first, "a.kept_voxels": 7}]
    assert pins.at(9) == pins.at(3)


@pytest.mark.parametrize(
    ("pins", "reported"),
    [
        ({"c.kept_voxels": 1}, "no such site; this model has a.kept_voxels, b.kept_voxels"),
        ({"a.kept_voxels@0": 1}, r"expected a.kept_voxels@STEP"),
        ({"a.kept_voxels@two": 1}, r"expected a.kept_voxels@STEP"),
        ({"a.kept_voxels@2": 1}, "pin the first step too"),
        (
            {"b.kept_voxels@2": 1, "a.kept_voxels@3": 1},
            "--assume a.kept_voxels: pin the first step too",  # the first site, in each run
        ),
        ({"a.kept_voxels": 1, "a.kept_voxels@1": 1}, "the first step is pinned twice"),
    ],
)
def test_pins_that_say_nothing_clear_are_refused(pins: dict[str, int], reported: str) -> None:
    with pytest.raises(InputError, match=reported):
        Pins.read(pins, SITES)


def test_a_model_without_sites_says_so() -> None:
    with pytest.raises(InputError, match="has none: no value decides a shape"):
        Pins.read({"a": 1}, ())
