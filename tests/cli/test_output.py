import os
import stat
from pathlib import Path

import pytest

from bevdiag.cli.output import (
    MACHINE_FORMATS,
    STDOUT,
    Output,
    check_output,
    further_outputs,
    layout_for,
    renderer,
    say,
    write_output,
)
from bevdiag.errors import InputError, OutputError
from bevdiag.prediction.checked import Check
from bevdiag.report.printable import Layout
from bevdiag.report.text.prose import Page


def test_a_file_is_written_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("before", encoding="utf-8")
    write_output("\u2588 after\n", str(path))
    assert path.read_text(encoding="utf-8") == "\u2588 after\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.txt"
    path.write_text("before", encoding="utf-8")

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        write_output("after", str(path))
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "report.txt", tmp_path / "link"
    path.touch()
    link.symlink_to(path)
    write_output("text", str(link))
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == "text"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_output("text", str(path))
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_output("text", str(tmp_path / "report.txt"))
    (tmp_path / "plain.txt").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        check_output(str(tmp_path))
    with pytest.raises(InputError, match="there is no folder"):
        check_output(str(tmp_path / "nowhere" / "report.txt"))
    check_output(str(tmp_path / "report.txt"))
    check_output(STDOUT)


def test_bytes_reach_a_file(tmp_path: Path) -> None:
    write_output(b"\x80\x04N.", str(tmp_path / "step.pickle"))
    assert (tmp_path / "step.pickle").read_bytes() == b"\x80\x04N."


def test_bytes_reach_a_pipe(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_output(b"\x80\x04N.", STDOUT)
    assert capfdbinary.readouterr().out == b"\x80\x04N."


def test_a_file_is_laid_out_like_a_pipe() -> None:
    assert layout_for("report.txt") == Layout()


def test_messages_are_neutralised(capsys: pytest.CaptureFixture[str]) -> None:
    say("error: x\x1b[2J\ny")
    assert capsys.readouterr().err == "error: x[2J y\n"


def test_every_format_for_machines_has_a_renderer() -> None:
    check = Check(config="a.yaml", failure="no such file")
    texts = {name: renderer(name)([check]) for name in MACHINE_FORMATS}
    assert len(set(texts.values())) == len(MACHINE_FORMATS)
    assert all("a.yaml" in text for text in texts.values())


def test_the_text_is_the_commands_own() -> None:
    def write(page: Page, checks: list[Check]) -> None:
        page.line(f"{len(checks)} at {page.layout.width}")

    assert Output("text", "report.txt").rendered([], write) == "0 at 100\n"


def test_also_takes_a_format_and_a_file(tmp_path: Path) -> None:
    file = str(tmp_path / "a=b.sarif")
    assert further_outputs([f"sarif={file}"]) == [Output("sarif", file, "--also")]
    assert further_outputs(None) == []


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
        further_outputs([text])
