from bevdiag.prediction.checked import Check
from bevdiag.report.markdown import MOST_CHARACTERS, escaped, markdown


def test_markdown_shows_text_as_text(hostile):
    text = markdown(hostile)
    assert "<img>" not in text
    assert "@user" not in text
    row = next(line for line in text.splitlines() if "FAIL" in line)
    assert row.replace("\\|", "").count("|") == 7
    assert escaped("a_b*c") == "a\\_b\\*c"


def test_markdown_stays_within_a_comment(over):
    checks = [Check(config=f"configs/{n}.yaml", report=over) for n in range(400)]
    text = markdown(checks)
    assert len(text) <= MOST_CHARACTERS
    assert "are left out" in text
