from pathlib import Path

import pytest

from bevdiag.cli.formats import MACHINE_FORMATS, formats_and_files, render_checks, renderer
from bevdiag.errors import InputError
from bevdiag.prediction.checked import Check


def test_every_format_for_machines_has_a_renderer() -> None:
    check = Check(config="a.yaml", failure="no such file")
    texts = {name: renderer(name)([check]) for name in MACHINE_FORMATS}
    assert len(set(texts.values())) == len(MACHINE_FORMATS)
    assert all("a.yaml" in text for text in texts.values())


def test_the_text_is_the_commands_own() -> None:
    made = render_checks([], "text", "-", lambda checks, layout: f"{len(checks)} at {layout.width}")
    assert made.startswith("0 at ")


def test_also_takes_a_format_and_a_file(tmp_path: Path) -> None:
    file = str(tmp_path / "a=b.sarif")
    assert formats_and_files([f"sarif={file}"]) == (("sarif", file),)
    assert formats_and_files(None) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sarif", "is not of the form FORMAT=FILE"),
        ("sarif=-", "is not of the form FORMAT=FILE"),
        ("pdf=a", "'pdf' is not one of"),
        ("sarif=/no/such/folder/a", "/no/such/folder"),
    ],
)
def test_what_also_cannot_take_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        formats_and_files([text])
