"""One file by any name: none is both read and written, none written twice."""

import os
from pathlib import Path

import pytest

from bevdiag.errors import InputError
from bevdiag.files.known import add_inputs, forget, inputs, note_input, note_output, refuse_input


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    forget()


@pytest.fixture
def spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Names of one file."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder/file"
    path.write_text("text", encoding="utf-8")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "other").symlink_to(tmp_path / "folder")
    (tmp_path / "hard").hardlink_to(path)
    monkeypatch.chdir(tmp_path)
    return [
        path, Path("folder/file"), Path("./folder/../folder/file"), Path("link"), Path("hard"),
        Path("other/file"), tmp_path / "other/../folder/file",
    ]  # fmt: skip


def test_what_is_read_is_not_written_by_any_name(spellings: list[Path]) -> None:
    for read in spellings:
        for written in spellings:
            forget()
            note_input(read)
            with pytest.raises(InputError, match=r"^-o: .* is read and cannot be written too"):
                note_output(written, "-o")
            forget()
            note_output(written, "-o")
            with pytest.raises(InputError, match=r"^-o: .* is read and cannot be written too"):
                note_input(read)


def test_nothing_is_written_twice_by_any_name(spellings: list[Path]) -> None:
    for first in spellings:
        for second in spellings:
            forget()
            note_output(first, "-o")
            with pytest.raises(InputError, match=r"^--also: .* is written by -o too"):
                note_output(second, "--also")


def test_a_file_that_is_yet_to_be_is_not_written_twice(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    note_output(tmp_path / "new", "-o")
    with pytest.raises(InputError, match="is written by -o too"):
        note_output(tmp_path / "dangling", "--html")


def test_a_descriptor_is_the_file_that_it_leads_to(spellings: list[Path]) -> None:
    with spellings[0].open() as stream:
        note_input(spellings[3])
        with pytest.raises(InputError, match="is read"):
            note_output(Path(f"/dev/fd/{stream.fileno()}"), "-o")


def test_a_replaced_file_is_still_known(spellings: list[Path], tmp_path: Path) -> None:
    note_input(spellings[0])
    (tmp_path / "new").write_text("new", encoding="utf-8")
    os.replace(tmp_path / "new", spellings[0])
    with pytest.raises(InputError, match="is read"):
        refuse_input(spellings[0], "-o")
    with pytest.raises(InputError, match="is read"):
        refuse_input(tmp_path / "hard", "-o")


def test_what_is_updated_may_be_read_and_has_one_writer(spellings: list[Path]) -> None:
    note_output(spellings[0], "FILE", updated=True)
    note_input(spellings[0])
    forget()
    note_output(spellings[0], "FILE", updated=True)
    with pytest.raises(InputError, match="is written by FILE too"):
        note_output(spellings[3], "-o")


def test_devices_may_be_named_often() -> None:
    note_input(Path("/dev/null"))
    note_output(Path("/dev/null"), "-o")
    note_output(Path("/dev/null"), "--also")


def test_what_a_child_has_read_counts(spellings: list[Path]) -> None:
    note_input(spellings[0])
    seen = inputs()
    forget()
    add_inputs(seen)
    with pytest.raises(InputError, match="is read"):
        note_output(spellings[3], "-o")
