import json
from collections.abc import Callable

from bevdiag.prediction.result import CompareReport
from bevdiag.report.as_json import as_json


def test_golden(compared: CompareReport, golden: Callable[[str, str], None]) -> None:
    golden("compare.json", as_json(compared))


def test_the_first_variant_is_the_base_line(compared: CompareReport) -> None:
    document = json.loads(as_json(compared))
    assert document["schema"] == "bevdiag.compare/1"
    assert document["variants"][0]["difference_bytes"] == 0
    assert document["variants"][2]["error"] == "INPUT_FEATURES is missing"
    assert document["exit_code"] == 1
