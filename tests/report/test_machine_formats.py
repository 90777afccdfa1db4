import unicodedata

import pytest

from bevdiag.cli.output import MACHINE_FORMATS, renderer
from bevdiag.report.github import github
from bevdiag.report.junit import junit
from bevdiag.report.markdown import markdown


@pytest.mark.parametrize(
    ("render", "name"),
    [
        (junit, "checks.junit.xml"),
        (github, "checks.github.txt"),
        (markdown, "checks.md"),
    ],
)
def test_golden(checks, golden, render, name):
    golden(name, render(checks))


@pytest.mark.parametrize("output_format", MACHINE_FORMATS)
def test_no_format_passes_on_what_a_terminal_would_obey(checks, hostile, output_format):
    text = renderer(output_format)((*checks, *hostile))
    assert {char for char in text if unicodedata.category(char) == "Cc"} <= {"\n"}
    assert not {"\u202e", "\u2066", "\ufeff"} & set(text)
    assert text.endswith("\n")
