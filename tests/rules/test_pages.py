"""The pages of the rules: whole, generated, and with a thread behind each."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bevdiag.errors import InputError
from bevdiag.rules.codes import CODES
from bevdiag.rules.pages import PARTS, find_code, rule_page


@pytest.mark.parametrize("code", CODES)
def test_a_page_has_all_parts_and_a_thread(code: str) -> None:
    page = rule_page(code)
    assert page.summary.endswith(".")
    assert all(page.parts[part] and all(page.parts[part]) for part in PARTS)
    assert re.search(r"\S+#\d+ \(https://github\.com/\S+/\d+\): \S", page.parts["Seen in"][0])


def test_codes_and_names_are_unique_and_in_order() -> None:
    assert list(CODES) == sorted(CODES)
    assert all(code == row.code for code, row in CODES.items())
    assert len({row.name for row in CODES.values()}) == len(CODES)


def test_a_rule_is_found_by_code_or_name_in_any_case() -> None:
    assert find_code("bev203") is find_code("Height-Flatten-Blowup") is CODES["BEV203"]


@pytest.mark.parametrize(("name", "nearest"), [("BEV20", "BEV20"), ("unknown-keys", "unknown-key")])
def test_an_unknown_rule_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{nearest}"):
        find_code(name)


def test_pages_and_config_rules_import_no_torch() -> None:
    program = (
        "import sys; from pathlib import Path; "
        "from bevdiag.config import read_document; "
        "from bevdiag.rules.checks import check_config; "
        "from bevdiag.rules.pages import rule_page; rule_page('BEV403'); "
        "path = Path('configs/focalsst_dsvt.yaml'); check_config(path, read_document(path)); "
        "assert 'torch' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root, timeout=60)
