"""Every mistake in an option is a sentence that names the option, the text and what is allowed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bevdiag.errors import InputError
from bevdiag.prediction import values

Parse = Callable[[str, str], object]


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (values.positive, " 4 ", 4),
        (values.percentage, "5%", 0.05),
        (values.percentage, "0.5 %", 0.005),
        (values.percentage, "100%", 1.0),
        (values.point_columns, "3", 3),
        (values.point_dtype, "float16", "float16"),
        (values.autocast, "bf16", "bf16"),
        (values.compression, "sparse_max", "sparse_max"),
        (values.optimizer, "adamw", "adamw"),
        (values.gpu_name, "4090", "rtx4090"),
        (values.size_bytes, "22GiB", 22 * 2**30),
        (values.torch_version, "2.4.1", "2.4.1"),
        (values.cudnn_version, "9.1", "9.1"),
        (values.module, " HeightCompression ", "HeightCompression"),
        (values.folder, ".", "."),
    ],
)
def test_what_is_allowed_is_taken(parse: Parse, text: str, value: object) -> None:
    assert parse("--option", text) == value


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (values.positive, "0", "is not a whole number from 1 to 2147483647"),
        (values.positive, "²", "is not a whole number"),
        (values.positive, "99999999999", "is not a whole number"),
        (values.percentage, "101%", "write it like 5%"),
        (values.percentage, "5", "write it like 5%"),
        (values.point_columns, "2", "from 3"),
        (values.point_columns, "1000000", "the most a file may have"),
        (values.autocast, "bf61", "off, fp16, bf16 (did you mean bf16?)"),
        (values.compression, "maximum", "is not one of none, max"),
        (values.optimizer, "adm", "did you mean adam?"),
        (values.gpu_name, "rtx49090", "rtx4090"),
        (values.size_bytes, "many", "is no size"),
        (values.torch_version, "two", "write it like 2.4"),
        (values.cudnn_version, "nine", "nine"),
        (values.module, " ", "name a module"),
        (values.folder, "no/such", "there is no folder no/such"),
        (values.source_folder, "no/such", "there is no folder no/such"),
    ],
)
def test_what_is_not_names_the_option(parse: Parse, text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        parse("--option", text)
    assert str(raised.value).startswith("--option: ")
    assert said in str(raised.value)


def test_lists_keep_their_order_and_lose_what_comes_twice() -> None:
    assert values.batch_sizes("4,1,4") == (4, 1)
    assert values.autocasts("bf16, off,bf16") == ("bf16", "off")
    assert values.batch_sizes(None) == values.autocasts(None) == ()


@pytest.mark.parametrize("texts", [["A.B"], ["=1"], [" =1"]])
def test_an_override_has_a_key_and_a_value(texts: list[str]) -> None:
    with pytest.raises(InputError, match=r"A\.B=value"):
        values.overrides(texts)
    assert values.overrides(["A.B=", "C=1=2"]) == ("A.B=", "C=1=2")


def test_counts_are_pinned_by_site_and_once() -> None:
    assert values.pins(["a.b=3", "a.b@2=4", "x=y=5"]) == {"a.b": 3, "a.b@2": 4, "x=y": 5}
    assert values.pins(None) == {}
    for texts in (["a"], ["=3"], ["a=many"], ["a=-1"], ["a=1", "a=1"]):
        with pytest.raises(InputError, match="--assume"):
            values.pins(texts)


def test_what_is_not_given_stays_out() -> None:
    assert values.optional(values.positive, "--seed", None) is None
    assert values.optional(values.positive, "--seed", "2") == 2


def test_a_folder_without_a_detectors_package_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--source: "):
        values.source_folder("--source", str(tmp_path))
