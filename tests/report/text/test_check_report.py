"""`bevdiag check`: the worst last, a line for all, and what to do next."""

from bevdiag.errors import ExitCode
from bevdiag.prediction.checked import Check
from bevdiag.prediction.result import ConfigReport
from bevdiag.report.layout import Layout
from bevdiag.report.text.check_report import render_check
from bevdiag.rules.finding import Finding, Severity

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
    assert render_check([SOUND, SOUND], Layout()) == "Configs: 2 without errors.\n"


def test_the_worst_comes_last_and_the_counts_after_it() -> None:
    text = render_check([BROKEN, SOUND, FAULTY], Layout())
    assert text.index("BEV103") < text.index("broken.yaml ─") < text.index("Configs:")
    assert text.endswith("Configs: 1 without errors, 1 with errors, 1 that cannot be used.\n")
    assert "bevdiag check CONFIG... again" in text


def test_how_many_could_not_be_judged_is_said_with_the_way_to_do_it() -> None:
    text = " ".join(render_check([FOREIGN, FOREIGN, SOUND], Layout()).split())
    assert "2 with modules that are not built in" in text
    assert "bevdiag inspect CONFIG --source DIR" in text
    assert "again" not in text
