"""What the rules say of a config whose model a repository's own code builds."""

from pathlib import Path

import pytest

from bevdiag.config import read_document
from bevdiag.rules.checks import check_config, source_findings
from bevdiag.rules.finding import Confidence, Finding, Severity

CONFIG = Path(__file__).parent / "BEV201" / "bad.yaml"
IN_ITS_WORDS = (
    "RuntimeError: Given groups=1, weight of size [64, 256, 3, 3], expected input[1, 128, 200, "
    "176] to have 256 channels, but got 128 channels instead"
)


def _of_map(found: tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in found if finding.code == "BEV201"]


def test_a_module_of_a_known_name_may_make_other_channels_in_a_repository() -> None:
    document = read_document(CONFIG)
    (known,) = _of_map(check_config(CONFIG, document))
    assert known.severity is Severity.ERROR
    assert known.stops
    (derived,) = _of_map(source_findings(document, None, ran=False, failure="KeyError: 'x'"))
    assert derived.severity is Severity.WARNING
    assert derived.confidence is Confidence.LIKELY
    assert not derived.stops
    assert "did not confirm it" in derived.detail[-1]


@pytest.mark.parametrize(("ran", "failure"), [(True, ""), (False, IN_ITS_WORDS)])
def test_the_trace_decides(ran: bool, failure: str) -> None:
    found = _of_map(source_findings(read_document(CONFIG), None, ran=ran, failure=failure))
    assert [finding.severity for finding in found] == ([] if ran else [Severity.ERROR])


@pytest.mark.parametrize("code", ["BEV010", "BEV011", "BEV206", "BEV110"])
def test_what_openpcdet_s_code_would_stop_at_is_no_error_of_another_code(code: str) -> None:
    config = CONFIG.parents[1] / code / "bad.yaml"
    document = read_document(config)
    (known,) = (f for f in check_config(config, document) if f.code == code)
    assert known.stops
    found = source_findings(document, None, ran=False, failure="KeyError: 'x'")
    (derived,) = (f for f in found if f.code == code)
    assert derived.severity is Severity.WARNING
    assert not derived.stops


@pytest.mark.parametrize("code", ["BEV010", "BEV011", "BEV104"])
def test_what_a_trace_does_not_show_is_found_though_the_step_ran(code: str) -> None:
    document = read_document(CONFIG.parents[1] / code / "bad.yaml")
    (found,) = (f for f in source_findings(document, None, ran=True) if f.code == code)
    assert (found.severity, found.stops) == (Severity.WARNING, False)
    assert "did not confirm it" in found.detail[-1]


@pytest.mark.parametrize("name", ["BEV101/bad.yaml", "BEV110/bad_moved.yaml"])
def test_what_stops_nothing_is_found_though_the_step_ran(name: str) -> None:
    path = CONFIG.parents[1] / name
    document = read_document(path)
    codes = [f.code for f in source_findings(document, None, ran=True)]
    assert path.parent.name in codes


@pytest.mark.parametrize(
    "override",
    [
        "MODEL.VTRANSFORM.XBOUND.0=.nan",
        "MODEL.VTRANSFORM.YBOUND.2=.inf",
        "DATA_CONFIG.POINT_CLOUD_RANGE.3=.inf",
    ],
)
def test_a_length_that_is_none_is_no_traceback(override: str) -> None:
    config = CONFIG.parents[1] / "BEV110" / "bad.yaml"
    check_config(config, read_document(config, (override,)))
