import pytest

from bevdiag.report.as_json import dumps


def test_json_is_ascii_and_ends_with_a_newline() -> None:
    assert dumps({"name": "\u5377"}) == '{\n  "name": "\\u5377"\n}\n'


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        dumps({"error": float("nan")})
