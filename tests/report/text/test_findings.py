from dataclasses import replace

from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import Layout
from bevdiag.report.text.findings import write_findings
from bevdiag.rules.finding import Fix, Price

from .conftest import written


def test_errors_come_first(over: Prediction) -> None:
    text = "\n".join(written(write_findings, over.findings, layout=Layout(120)))
    assert text.index("error BEV203") < text.index("info BEV502")


def test_the_place_and_the_lesson_follow(over: Prediction) -> None:
    lines = written(write_findings, over.findings[1:], layout=Layout(200))
    assert lines[3] == (
        "    configs/focalsst_dsvt.yaml:87:5, MODEL.MAP_TO_BEV.NUM_BEV_FEATURES, "
        "in backbone_2d.blocks.0.1"
    )
    assert "128 channels x 175 heights = 22,400" in lines[4]


def test_a_finding_without_a_place_has_no_empty_line(over: Prediction) -> None:
    bare = replace(over.findings[0], module="")
    assert len(written(write_findings, (bare,), layout=Layout(120))) == 3


def test_no_findings_no_section() -> None:
    assert written(write_findings, ()) == []


def test_what_a_rule_can_write_against_it_is_named(over: Prediction) -> None:
    fix = Fix(id="compression-max", group="height", title="", price=Price.MODEL, loses="")
    other = replace(fix, id="height-strides")
    fixable = replace(over.findings[0], fixes=(fix, other))
    text = "\n".join(written(write_findings, (fixable,), layout=Layout(120)))
    assert (
        "    fix: compression-max, height-strides (bevdiag fix traces the cheapest first)" in text
    )
