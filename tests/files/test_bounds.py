import json
import time

import pytest

from bevdiag.errors import InputError
from bevdiag.files.bounds import (
    MAX_JSON_OBJECTS,
    MAX_JSON_VALUES,
    MAX_TOML_DEPTH,
    MAX_TOML_VALUES,
    check_json,
    scan_toml,
)


def test_json_of_honest_size_passes() -> None:
    check_json(json.dumps([{"a": [1, 2, 3]}] * 1000).encode())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}," * MAX_JSON_OBJECTS + "{}", f"more than {MAX_JSON_OBJECTS} objects"),
        ("[" + "0," * MAX_JSON_VALUES + "0]", f"more than {MAX_JSON_VALUES} values"),
        ("[" * (MAX_JSON_VALUES + 1), f"more than {MAX_JSON_VALUES} values"),
    ],
)
def test_json_of_no_honest_size_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check_json(text.encode())


def test_where_the_keys_of_toml_stand() -> None:
    text = (
        '# gpu = "no"\ngpu = "a = b"\n[ignore]\n  BEV305 = """\nBEV001 = no\n"""\n"a.b@1" = 2\n'
        "[[config]]\nfiles = ['*']\nassume = {'q r' = 1, z.t = 2}\n"
    )
    assert scan_toml(text) == {
        "gpu": [(2, 1)],
        "ignore": [(3, 2)],
        "BEV305": [(4, 3)],
        "a.b@1": [(7, 2)],
        "config": [(8, 3)],
        "files": [(9, 1)],
        "assume": [(10, 1)],
        "q r": [(10, 12)],
        "t": [(10, 24)],
    }


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 30_000) + " = 1",
        "[" + ".".join("a" * 30_000) + "]",
        "x = {" + " . ".join(['"a"'] * 30_000) + " = 1}",
        "a = " + "[" * (MAX_TOML_DEPTH + 1),
        "a = " + "{a = " * (MAX_TOML_DEPTH + 1),
        "a = 1\n" * (MAX_TOML_VALUES + 1),
        "[a]\n" * (MAX_TOML_VALUES + 1),
    ],
)
def test_toml_of_no_honest_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"it is nested deeper than|it has more than"):
        scan_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        '"""\\""" ' * 100_000,
        "'''' " * 200_000,
        "\n" * 2**20,
        '"' * 2**20,
        "\\" * 2**20,
        "a" * 2**20,
    ],
)
def test_what_no_parser_takes_is_scanned_in_a_moment(text: str) -> None:
    began = time.process_time()
    scan_toml(text)
    assert time.process_time() - began < 5
