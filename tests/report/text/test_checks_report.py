from dataclasses import replace

import pytest

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.baseline import record
from bevdiag.prediction.checked import Check
from bevdiag.prediction.result import ConfigReport
from bevdiag.report.as_json import as_json
from bevdiag.report.printable import Layout
from bevdiag.report.text.checks_report import write_baseline, write_check, write_preflight
from bevdiag.report.text.prose import rendered
from bevdiag.rules.finding import Finding, Severity


@pytest.fixture
def checks(over, measured):
    fits = replace(
        measured,
        config="configs/small.yaml",
        verdict=Verdict.FITS,
        target=over.target,
        timeline=measured.timeline[::400],
    )
    growth = (
        Finding(
            code="BEV311",
            severity=Severity.ERROR,
            message="+2.00 GiB in reserved (from 10.00 GiB to 12.00 GiB) since the baseline",
            detail=("+1.50 GiB in map_to_bev (from 1.00 GiB to 2.50 GiB)",),
        ),
    )
    return (
        Check(
            config=over.config,
            budget="A100-80GB",
            report=replace(over, timeline=over.timeline[::400]),
        ),
        Check(config="configs/small.yaml", budget="A100-80GB", report=fits),
        Check(config="configs/grown.yaml", budget="A100-80GB", report=fits, growth=growth),
        Check(
            config="configs/absent.yaml",
            failure="configs/absent.yaml: no such file",
            failure_code=ExitCode.USAGE,
        ),
    )


@pytest.mark.parametrize("width", [80, 120, 200])
def test_golden(checks, golden, width):
    following = "bevdiag check configs/absent.yaml"
    text = rendered(Layout(width=width), write_preflight, checks, following=following)
    golden(f"preflight_{width}.txt", text)


def test_json_golden(checks, golden):
    golden("preflight.json", as_json(checks))


def test_the_worst_stands_last_and_all_is_reported(checks):
    text = rendered(Layout(width=120), write_preflight, checks)
    rows = [text.index(f"{check.config} ") for check in checks]
    assert rows[1] < rows[0] < rows[3]
    assert "+2.00 GiB in reserved" in text
    assert "75.10 GiB" in text


def test_when_all_is_well_there_is_only_the_table(checks):
    text = rendered(Layout(width=120), write_preflight, [checks[1]])
    assert len(text.splitlines()) == 3


def test_what_a_baseline_records(checks, tmp_path):
    text = rendered(Layout(width=160), write_baseline, record(checks, tmp_path / "b.json"))
    assert "configs/small.yaml" in text
    assert "torch 2.13.0" in text


SOUND = Check(
    config="sound.yaml", report=ConfigReport(config="sound.yaml", findings=(), is_untried=True)
)
FAULT = Finding(code="BEV103", severity=Severity.ERROR, message="odd sizes")
FAULTY = Check(
    config="faulty.yaml",
    report=ConfigReport(config="faulty.yaml", findings=(FAULT,), is_untried=True),
)
BROKEN = Check(config="broken.yaml", failure="no YAML", failure_code=ExitCode.USAGE)
FOREIGN = Check(
    config="foreign.yaml",
    report=ConfigReport(config="foreign.yaml", findings=(), is_untried=True),
    notes=("its VFE is not built in",),
)


def test_what_is_sound_is_counted_and_no_more() -> None:
    assert rendered(Layout(), write_check, [SOUND, SOUND]) == "Configs: 2 without errors.\n"


def test_the_worst_comes_last_and_the_counts_after_it() -> None:
    text = rendered(Layout(), write_check, [BROKEN, SOUND, FAULTY])
    assert text.index("BEV103") < text.index("broken.yaml ─") < text.index("Configs:")
    assert text.endswith("Configs: 1 without errors, 1 with errors, 1 that cannot be used.\n")
    assert "bevdiag check CONFIG... again" in text


def test_how_many_could_not_be_judged_is_said_with_the_way_to_do_it() -> None:
    text = " ".join(rendered(Layout(), write_check, [FOREIGN, FOREIGN, SOUND]).split())
    assert "2 with modules that are not built in" in text
    assert "bevdiag inspect CONFIG --source DIR" in text
    assert "again" not in text
